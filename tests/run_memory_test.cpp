#include <gtest/gtest.h>

#include <algorithm>

#include "pipeline/counts/counts.hpp"
#include "pipeline/recipes/recipe.hpp"
#include "pipeline/run/obtain_counts.hpp"
#include "pipeline/run/plan.hpp"
#include "pipeline/run/run.hpp"
#include "pipeline/spectra/spectra.hpp"
#include "tests/cli_helpers.hpp"
#include "tests/emit_helpers.hpp"
#include "tests/offset_helpers.hpp"

// The plan of a run, stage by stage, against what its stages took of the device's memory.

namespace aloft {
namespace {

class RunMemory : public PerBackend {
 protected:
  static constexpr std::int64_t kVocab = 1600;  // a Krylov space, in which rows of so many decide
  static constexpr std::int32_t kLags = 2;

  void SetUp() override {
    stages::Bench host("cpu");
    const Counts counts =
        stages::counted(host.ctx, stages::grouped_text(6'000, kVocab, 100, 3), kVocab, kLags);
    corpus_ = facts_of(counts);  // as the program plans: without frequencies, a null's pairs are a guess
    save(folder_ / "counts.safetensors", counts, "");
    config_.counts_file = folder_ / "counts.safetensors";
    config_.lags = kLags;
    config_.backend = GetParam();
    config_.threads = 1;  // sizes do not depend on more, and tests run side by side
    config_.null_tokens = 5000;
    flags_.layers = 2;
    flags_.heads = 4;
    flags_.d_model = 32;
    flags_.context = 32;
    config_.expand.pr_target = 6;
    config_.offset.factors.alpha = 0.5;  // given, so that nothing is fitted
    config_.offset.factors.kappa = 30;
    config_.offset.factors.ridge = 1;
  }
  RunPlan plan() {
    const Backend backend = make_backend(GetParam());
    return plan_run(config_, arch_, resolve_shape(flags_, {}, arch_, kVocab), corpus_, backend);
  }
  RunOutcome run(const std::string& output) {
    config_.output = folder_ / output;
    NoProgress progress;
    return run_init(config_, flags_, {}, arch_, "{}", progress, [](const std::string&) {});
  }
  void expect_truth(const std::string& recipe) {
    config_.compose.recipe = recipe;
    const RunPlan planned = plan();
    // What the plan says is enough: not a byte more is given.
    config_.device_bytes = planned.peak_device_memory();
    const RunOutcome outcome = run(recipe);
    config_.device_bytes = 0;
    const auto took = [&](const std::string& stage) {
      std::uint64_t most = 0;
      for (const StageTime& t : outcome.times)
        if (t.name == stage) most = std::max(most, t.peak_bytes);
      return most;
    };
    const bool apart = planned.device_budget > 0;
    std::size_t seen = 0;
    for (const StagePlan& stage : planned.stages) {
      const std::uint64_t measured = took(stage.stage);
      if (stage.stage == "count" || measured == 0) continue;
      ++seen;
      EXPECT_GE(apart ? stage.device_bytes : stage.memory_bytes, measured) << recipe << ": " << stage.stage;
      if (apart && measured > kSmall) {
        EXPECT_LE(static_cast<double>(stage.device_bytes), 1.25 * static_cast<double>(measured) + floor())
            << recipe << ": " << stage.stage << " took " << measured;
      }
    }
    EXPECT_GE(seen, 2u);
  }
  /// What the libraries want however small the call.
  static double floor() {
    const Backend backend = make_backend(GetParam());
    return static_cast<double>(
        backend.linear->sparse_scratch(1, 1).device + backend.linear->spmm_scratch(1, 1, 1, 1).device +
        backend.linear->eigh_scratch(1, 1).device + backend.count->sparse_workspace_bytes(0, 1, 1));
  }

  static constexpr std::uint64_t kSmall = std::uint64_t{1} << 20;  // what composing takes is next to nothing
  cli_tests::Folder folder_;
  RunConfig config_;
  ModelFlags flags_;
  Architecture arch_ = architecture("llama");
  CorpusFacts corpus_;
};

// The Krylov space of `embed` and `factors` once took twice what was planned.
TEST_P(RunMemory, IsWhatThePlanSays) {
  expect_truth("spread");
  expect_truth("offset");
  config_.offset.estimator = Estimator::tucker;
  config_.offset.factors.alpha = config_.offset.factors.ridge = std::nullopt;  // which has none
  config_.output = "";
  expect_truth("bigram-head");
}
ALOFT_ON_EACH_BACKEND(RunMemory);

}  // namespace
}  // namespace aloft
