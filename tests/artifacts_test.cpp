#include "pipeline/counts/counts.hpp"
#include "pipeline/spectra/spectra.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "host/atomic_file.hpp"
#include "host/error.hpp"
#include "tests/stage_helpers.hpp"

namespace aloft {
namespace {

using namespace stages;

struct Artifacts : PerBackend {
  Bench b{GetParam()};
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() /
      ("aloft-artifacts-" + std::to_string(reinterpret_cast<std::uintptr_t>(this)));
  std::string path = (folder / "x.safetensors").string();
  Counts counts = counts_of(b.ctx.device(), walk(500, 20, 1, 3), 20, 3);
  Embedding embedding = embed_ppmi_svd(b.ctx, counts, 6, 1);
  Projections projections = project(b.ctx, counts, embedding);
  Spectra spectra = decompose(b.ctx, projections);

  Artifacts() { std::filesystem::create_directories(folder); }
  ~Artifacts() override { std::filesystem::remove_all(folder); }

  ExpandedSpectra expanded() {
    ExpandParams p;
    p.layer_lags = {2, 1};
    p.pr_target = 4;
    p.method = ExpandMethod::whiten;
    return expand(b.ctx, projections, spectra, p);
  }
};

template <class T>
void expect_same(const Buffer<T>& a, const Buffer<T>& b) {
  EXPECT_EQ(to_host(a), to_host(b));  // doubles too: bit for bit but for the sign of zero
}
void expect_same(const Matrix& a, const Matrix& b) {
  EXPECT_EQ(a.batch, b.batch);
  EXPECT_EQ(a.rows, b.rows);
  EXPECT_EQ(a.cols, b.cols);
  expect_same(a.data, b.data);
}

TEST_P(Artifacts, CountsComeBack) {
  save(path, counts, "k");
  const auto got = load<Counts>(b.ctx.device(), path, "k");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->vocab, counts.vocab);
  EXPECT_EQ(got->max_lag, counts.max_lag);
  EXPECT_EQ(got->tokens, counts.tokens);
  EXPECT_EQ(got->corpus_hash, counts.corpus_hash);
  EXPECT_EQ(got->unigram, counts.unigram);
  EXPECT_EQ(got->pairs, counts.pairs);
  ASSERT_EQ(got->lags.size(), counts.lags.size());
  for (std::size_t lag = 0; lag < counts.lags.size(); ++lag) {
    expect_same(got->lags[lag].row_offsets, counts.lags[lag].row_offsets);
    expect_same(got->lags[lag].columns, counts.lags[lag].columns);
    expect_same(got->lags[lag].values, counts.lags[lag].values);
  }
}

TEST_P(Artifacts, ALagWithoutPairsComesBack) {
  const Counts tiny = counts_of(b.ctx.device(), {0, 1}, 3, 2);
  save(path, tiny, "k");
  const auto got = load<Counts>(b.ctx.device(), path, "k");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->pairs, (std::vector<std::uint64_t>{1, 0}));
  EXPECT_EQ(got->lags[1].nnz(), 0);
}

TEST_P(Artifacts, RealValuesComeBackBitForBit) {
  save(path, embedding, "k");
  const auto e = load<Embedding>(b.ctx.device(), path, "k");
  ASSERT_TRUE(e);
  expect_same(e->rows, embedding.rows);
  EXPECT_EQ(e->method, "ppmi-svd");
  EXPECT_EQ(e->rank, embedding.rank);

  save(path, projections, "k");
  const auto p = load<Projections>(b.ctx.device(), path, "k");
  ASSERT_TRUE(p);
  expect_same(p->transition, projections.transition);
  expect_same(p->deviation, projections.deviation);
  expect_same(p->source_covariance, projections.source_covariance);
  expect_same(p->target_covariance, projections.target_covariance);

  save(path, spectra, "k");
  const auto s = load<Spectra>(b.ctx.device(), path, "k");
  ASSERT_TRUE(s);
  EXPECT_EQ(s->antisymmetric.sigma, spectra.antisymmetric.sigma);
  expect_same(s->antisymmetric.left, spectra.antisymmetric.left);
  expect_same(s->antisymmetric.right, spectra.antisymmetric.right);
  EXPECT_EQ(s->general_sigma, spectra.general_sigma);
  EXPECT_EQ(s->transition_norm, spectra.transition_norm);

  const ExpandedSpectra want = expanded();
  save(path, want, "k");
  const auto x = load<ExpandedSpectra>(b.ctx.device(), path, "k");
  ASSERT_TRUE(x);
  EXPECT_EQ(x->planes.sigma, want.planes.sigma);
  expect_same(x->planes.left, want.planes.left);
  expect_same(x->planes.right, want.planes.right);
  ASSERT_EQ(x->layers.size(), want.layers.size());
  for (std::size_t l = 0; l < want.layers.size(); ++l) {
    const LayerExpansion &a = x->layers[l], &w = want.layers[l];
    EXPECT_EQ(a.lag, w.lag);
    EXPECT_EQ(a.method, w.method);
    EXPECT_EQ(a.reached, w.reached);
    EXPECT_EQ(a.overlap_k, w.overlap_k);
    EXPECT_EQ((std::vector{a.pr_target, a.pr_before, a.pr_after, a.spectral_cosine, a.matrix_cosine,
                           a.subspace_overlap, a.parameter, a.max_pr, a.temper_after}),
              (std::vector{w.pr_target, w.pr_before, w.pr_after, w.spectral_cosine, w.matrix_cosine,
                           w.subspace_overlap, w.parameter, w.max_pr, w.temper_after}));
  }
}

TEST_P(Artifacts, OtherKeysAndAbsentFilesAreNotTaken) {
  EXPECT_FALSE(load<Spectra>(b.ctx.device(), path, "k"));
  save(path, spectra, "k");
  EXPECT_FALSE(load<Spectra>(b.ctx.device(), path, "other"));
  EXPECT_TRUE(load<Spectra>(b.ctx.device(), path, ""));
  EXPECT_THROW((void)load<Projections>(b.ctx.device(), path, "k"), InputError);  // another kind of artifact
}

TEST_P(Artifacts, AnyDamagedByteIsNoticed) {
  save(path, counts, "k");
  const std::string whole = read_file(path);
  for (const std::size_t cut : {whole.size() - 1, whole.size() / 2, std::size_t{9}}) {
    write_file(path, whole.substr(0, cut));
    EXPECT_THROW((void)load<Counts>(b.ctx.device(), path, "k"), InputError) << cut;
  }
  save(path, projections, "k");
  const std::string sound = read_file(path);
  for (const std::size_t at :
       {sound.size() - 3, sound.size() - 1000}) {  // within the tensors: still a valid file
    std::string damaged = sound;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    write_file(path, damaged);
    EXPECT_THROW((void)load<Projections>(b.ctx.device(), path, "k"), InputError) << at;
  }
}

ALOFT_ON_EACH_BACKEND(Artifacts);

}  // namespace
}  // namespace aloft
