#include <gtest/gtest.h>

#include <string>

#include "pipeline/base/krylov_eigen.hpp"
#include "pipeline/counts/holdout.hpp"
#include "pipeline/counts/plan.hpp"
#include "pipeline/offset/factors.hpp"
#include "pipeline/recipes/recipe.hpp"
#include "tests/offset_helpers.hpp"

// What a stage says that it takes of a device's memory beside what it took. Shapes are small, but large
// enough that [vocab, d], the entries and [d, d] decide; the counts' shape is exact.

namespace aloft {
namespace {

using namespace stages;

constexpr double kHigh = 1.25;

/// One worker: sizes do not depend on more, and tests run side by side.
struct OneWorker {
  explicit OneWorker(const std::string& name) : backend(make_backend(name, 1)) {}
  Backend backend;
  NoProgress progress;
  Context ctx{backend, progress};
};

struct Measured : PerBackend {
  Measured() : b(GetParam()) {
    // What the libraries want however small the call.
    const LinearOps& ops = *b.backend.linear;
    for (const Footprint& least : {ops.sparse_scratch(1, 1), ops.spmm_scratch(1, 1, 1, 1),
                                   ops.eigh_scratch(1, 1), ops.skew_spectrum_scratch(2, 1)})
      floor += least.device;
  }
  [[nodiscard]] const LinearOps& ops() const { return *b.backend.linear; }

  /// Counted by the host, since that is not what is measured.
  Counts counts(std::int64_t vocab, std::int32_t lags, std::size_t tokens = 20'000) {
    OneWorker host("cpu");
    Counts out = counted(host.ctx, grouped_text(tokens, static_cast<TokenId>(vocab), 100, 3), vocab, lags);
    for (CountCsr& lag : out.lags) lag = moved(lag, b.ctx.device());
    return out;
  }
  /// The result of `stage`, which said that it would take `plan`.
  template <class Stage>
  auto expect(const std::string& what, std::uint64_t plan, const Stage& stage, std::uint64_t more = 0) {
    Device& device = b.ctx.device();
    device.synchronize();
    device.reset_peak();
    const std::uint64_t before = device.peak_bytes();
    auto out = stage();
    const std::uint64_t took = device.peak_bytes() - before;
    EXPECT_GE(plan, took) << what;
    EXPECT_LE(static_cast<double>(plan),
              kHigh * static_cast<double>(took) + static_cast<double>(floor + more))
        << what << " took " << took;
    return out;
  }

  OneWorker b;
  std::uint64_t floor = 0;
};

struct SpreadShape {
  std::int64_t vocab, d;
  std::int32_t lags;
  std::int64_t layers;
  ExpandMethod method = ExpandMethod::pareto;
  Directions directions = Directions::keep;
};

TEST_P(Measured, CountingTakesWhatItSays) {
  struct Case {
    CountStrategy strategy;
    std::int64_t vocab;
    std::size_t tokens;
    std::uint64_t flush_after;
  };
  for (const auto& [strategy, vocab, tokens, flush_after] :
       {Case{CountStrategy::dense, 800, 50'000, 1 << 30},
        {CountStrategy::striped, 600, 50'000, 1 << 30},
        {CountStrategy::sparse, 5000, 60'000, 1 << 30}}) {
    const auto ids = dependent_text(tokens, static_cast<TokenId>(vocab), 3);
    OneWorker host("cpu");
    CountParams p;
    p.vocab = vocab;
    p.max_lag = 3;
    p.strategy = strategy;
    p.expected_tokens = tokens;
    p.flush_after = flush_after;
    const auto open = [&] { return std::make_unique<StreamSource>(ids); };
    p.expected_entries = shape_of(count_transitions(host.ctx, p, open)).entries;
    p.device_bytes = b.ctx.device().memory().total;
    if (strategy == CountStrategy::striped) p.stripe_rows = vocab / 2;
    (void)expect(
        strategy_name(strategy), plan_count(p, *b.backend.count).total_bytes(),
        [&] { return count_transitions(b.ctx, p, open); },
        strategy == CountStrategy::sparse ? b.backend.count->sparse_workspace_bytes(0, 1, 1) : 0);
  }
}

TEST_P(Measured, SpreadTakesWhatItSays) {
  const std::vector<SpreadShape> shapes{
      {2600, 48, 2, 2},                                           // a Krylov space
      {3000, 24, 1, 3, ExpandMethod::none},                       // few vectors of many ids
      {1030, 160, 4, 6, ExpandMethod::pareto, Directions::haar},  // wide: matrices of d x d decide
      {700, 64, 3, 8, ExpandMethod::whiten},                      // the dense solver
      {400, 90, 4, 3, ExpandMethod::stack},                       // more d than the text has directions
  };
  for (const SpreadShape& s : shapes) {
    const std::string name = "vocab " + std::to_string(s.vocab) + ", d " + std::to_string(s.d) + ": ";
    const Counts j = counts(s.vocab, s.lags);
    const CountsShape shape = shape_of(j);
    ExpandParams p;
    p.method = s.method;
    p.directions = s.directions;
    p.pr_target = 6;
    for (std::int32_t l = 0; l < s.layers; ++l) p.layer_lags.push_back(l % s.lags + 1);

    const Embedding e = expect(name + "embed", embed_ppmi_svd_memory(ops(), shape, s.d).device(),
                               [&] { return embed_ppmi_svd(b.ctx, j, s.d, 1); });
    const Projections projections = expect(name + "project", project_memory(ops(), shape, s.d).device(),
                                           [&] { return project(b.ctx, j, e); });
    (void)expect(name + "project transitions", project_transitions_memory(ops(), shape, s.d).device(),
                 [&] { return project_transitions(b.ctx, j, e); });
    const Spectra spectra = expect(name + "decompose", decompose_memory(ops(), s.d, s.lags).device(),
                                   [&] { return decompose(b.ctx, projections); });
    (void)expect(name + "expand", expand_memory(ops(), s.d, p).device(),
                 [&] { return expand(b.ctx, projections, spectra, p); });
  }
}

struct OffsetShape {
  Estimator estimator;
  std::int64_t vocab, d_s, d_o;
  std::int32_t lags;
};

TEST_P(Measured, OffsetTakesWhatItSays) {
  // Two stripes of rows, where kernels are not executed one thread after the other.
  const std::int64_t many = GetParam() == "cpu" ? 8300 : 900;
  const std::vector<OffsetShape> shapes{
      {Estimator::discriminant, 2600, 24, 32, 3}, {Estimator::discriminant, 600, 40, 60, 2},
      {Estimator::discriminant, many, 12, 20, 4}, {Estimator::tucker, 2600, 24, 20, 2},
      {Estimator::tucker, 500, 30, 40, 3},
  };
  for (const OffsetShape& s : shapes) {
    const Counts j = counts(s.vocab, 4, 6'000);  // few positions to choose scalars on
    FactorParams p;
    p.estimator = s.estimator;
    p.lags = s.lags;
    p.d_s = s.d_s;
    p.d_o = s.d_o;
    if (s.estimator == Estimator::discriminant) p.alpha = 0.5;  // a loss each, instead of a fit
    p.kappa = 50;
    p.ridge = 1;
    const std::int64_t positions = holdout_positions(j.holdout, s.lags, 8192).size();
    (void)expect(std::string(s.estimator == Estimator::tucker ? "tucker" : "discriminant") + ", vocab " +
                     std::to_string(s.vocab),
                 fit_lag_factors_memory(ops(), shape_of(j), p, positions).device(),
                 [&] { return fit_lag_factors(b.ctx, j, p); });
  }
}

// What a layer is designed in: once planned as twice all its projections, whatever a recipe does with them.
TEST_P(Measured, LayersTakeWhatTheySay) {
  struct Case {
    const char* name;
    recipes::LayerFunction design;
    recipes::LayerMemory memory;
  };
  const std::vector<ModelShape> shapes{{1, 4, 4, 16, 64, 32, 1, 10000, 16, 0},
                                       {2, 8, 2, 12, 80, 32, 1, 10000, 12, 0},  // grouped, heads wider than d
                                       {1, 2, 2, 8, 96, 32, 1, 10000, 8, 0}};  // few directions: no whole SVD
  for (const ModelShape& shape : shapes)
    for (const Case& c : {Case{"random", recipes::design_random, recipes::random_memory},
                          {"orthogonal", recipes::design_orthogonal, recipes::orthogonal_memory},
                          {"mimetic", recipes::design_mimetic, recipes::mimetic_memory},
                          {"invariants", recipes::design_invariants, recipes::invariants_memory}}) {
      const ComposeParams params;
      (void)expect(c.name, c.memory(ops(), shape).device(), [&] {
        return c.design(b.ctx, {params, shape}, 0);
      });
    }
}
ALOFT_ON_EACH_BACKEND(Measured);

}  // namespace
}  // namespace aloft
