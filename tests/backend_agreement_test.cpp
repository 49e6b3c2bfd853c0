#include <gtest/gtest.h>

#include "pipeline/counts/counts.hpp"
#include "pipeline/model/model.hpp"
#include "pipeline/recipes/recipe.hpp"
#include "pipeline/spectra/spectra.hpp"
#include "tests/compose_helpers.hpp"
#include "tests/recipe_helpers.hpp"
#include "tests/stage_helpers.hpp"

// From counts to heads on every backend beside the CPU, stage by stage. Each stage starts from the CPU's
// result of the one before, so that tolerances are a stage's own; vectors that may turn are compared by what
// they span.

namespace aloft {
namespace {

using namespace stages;

constexpr std::int64_t kVocab = 60, kWidth = 14;
constexpr std::int32_t kLags = 3;

std::vector<std::string> other_backends() {
  std::vector<std::string> out;
  for (const auto& name : available_backends())
    if (name != "cpu") out.push_back(name);
  return out;
}

Matrix moved(const Matrix& m, Device& to) {
  return matrix_from(to, aloft::to_host(m.data), m.rows, m.cols, m.batch);
}
SkewPlanes moved(const SkewPlanes& p, Device& to) { return {p.sigma, moved(p.left, to), moved(p.right, to)}; }

class BackendAgreement : public PerBackend {
 protected:
  Bench cpu{"cpu"}, other{GetParam()};
  std::vector<TokenId> ids = walk(4000, kVocab, 5);
  Counts counts = counts_of(cpu.ctx.device(), ids, kVocab, kLags);
  Counts counts_there = counts_of(other.ctx.device(), ids, kVocab, kLags);
  Embedding embedding = embed_ppmi_svd(cpu.ctx, counts, kWidth, 1);
  Embedding embedding_there{moved(embedding.rows, there()), embedding.method, embedding.rank};
  Projections projections = project(cpu.ctx, counts, embedding);
  Spectra spectra = decompose(cpu.ctx, projections);

  Device& there() { return other.ctx.device(); }
  Projections projections_there() {
    return {moved(projections.transition, there()), moved(projections.deviation, there()),
            moved(projections.source_covariance, there()), moved(projections.target_covariance, there())};
  }
  static void expect_near(const Dense& got, const Dense& want, double tolerance, const std::string& what) {
    EXPECT_LE((got - want).norm(), tolerance * want.norm()) << what;
  }
};

TEST_P(BackendAgreement, EmbeddingProjectionsAndSpectra) {
  const Embedding e = embed_ppmi_svd(other.ctx, counts_there, kWidth, 1);
  EXPECT_EQ(e.rank, embedding.rank);
  expect_near(dense_of(e.rows), dense_of(embedding.rows), 1e-6, "embedding");  // F32, signs settled

  const Projections p = project(other.ctx, counts_there, embedding_there);
  for (std::int64_t lag = 0; lag < kLags; ++lag) {
    expect_near(dense_of(p.transition, lag), dense_of(projections.transition, lag), 1e-12, "P");
    expect_near(dense_of(p.deviation, lag), dense_of(projections.deviation, lag), 1e-12, "R");
    expect_near(dense_of(p.source_covariance, lag), dense_of(projections.source_covariance, lag), 1e-12, "C");
    expect_near(dense_of(p.target_covariance, lag), dense_of(projections.target_covariance, lag), 1e-12, "C");
  }
  const Spectra s = decompose(other.ctx, projections_there());
  for (std::size_t k = 0; k < s.general_sigma.size(); ++k)
    EXPECT_NEAR(s.general_sigma[k], spectra.general_sigma[k], 1e-11 * spectra.general_sigma[0]);
  for (std::size_t k = 0; k < s.antisymmetric.sigma.size(); ++k)
    EXPECT_NEAR(s.antisymmetric.sigma[k], spectra.antisymmetric.sigma[k],
                1e-11 * spectra.antisymmetric.sigma[0]);
  for (std::int64_t lag = 0; lag < kLags; ++lag)
    expect_near(assembled(s.antisymmetric, lag), assembled(spectra.antisymmetric, lag), 1e-11, "planes");
  const auto asymmetry_there = measure_asymmetry(other.ctx, counts_there);
  const auto asymmetry_here = measure_asymmetry(cpu.ctx, counts);
  for (std::size_t lag = 0; lag < std::size_t(kLags); ++lag) {
    EXPECT_NEAR(asymmetry_there[lag].counts_inner / asymmetry_here[lag].counts_inner, 1, 1e-12);
    EXPECT_NEAR(asymmetry_there[lag].transition_norm2 / asymmetry_here[lag].transition_norm2, 1, 1e-12);
  }
}

TEST_P(BackendAgreement, ExpansionsAndTheKernelsOfTheHeads) {
  const Projections p = projections_there();
  const Spectra s{moved(spectra.antisymmetric, there()), spectra.general_sigma, spectra.transition_norm};
  for (const auto method : {ExpandMethod::none, ExpandMethod::temper, ExpandMethod::pareto,
                            ExpandMethod::whiten, ExpandMethod::stack})
    for (const auto directions : {Directions::keep, Directions::haar}) {
      ExpandParams params;
      params.method = method;
      params.pr_target = 8;
      params.directions = directions;
      params.layer_lags = {1, 2, 3};
      params.seed = 3;
      const ExpandedSpectra here = expand(cpu.ctx, projections, spectra, params);
      const ExpandedSpectra got = expand(other.ctx, p, s, params);
      for (std::int64_t layer = 0; layer < 3; ++layer) {
        const auto at = static_cast<std::size_t>(layer);
        expect_near(assembled(got.planes, layer), assembled(here.planes, layer), 1e-8,
                    here.layers[at].method);
        EXPECT_NEAR(got.layers[at].matrix_cosine, here.layers[at].matrix_cosine, 1e-8);
        EXPECT_NEAR(got.layers[at].subspace_overlap, here.layers[at].subspace_overlap, 1e-8);
        EXPECT_NEAR(got.layers[at].parameter, here.layers[at].parameter, 1e-7);
      }
      const ModelShape shape{3, 2, 1, 7, kWidth, 32, kVocab, 10000, 6};
      ComposeParams c;
      c.recipe = "spread";
      c.noise = 0.5;
      const ExpandedSpectra there_planes{moved(here.planes, there()), here.layers};
      const Composition want = compose(cpu.ctx, c, shape, &here, &embedding);
      const Composition made = compose(other.ctx, c, shape, &there_planes, &embedding_there);
      for (std::size_t layer = 0; layer < 3; ++layer)
        expect_near(attention_kernel(made.weights.layers[layer], shape),
                    attention_kernel(want.weights.layers[layer], shape), 1e-6, "kernel");
      expect_near(as_rows(made.weights.embedding, kWidth), as_rows(want.weights.embedding, kWidth), 1e-6,
                  "E");
    }
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(BackendAgreement);
INSTANTIATE_TEST_SUITE_P(Each, BackendAgreement, testing::ValuesIn(other_backends()), name_of_backend);

}  // namespace
}  // namespace aloft
