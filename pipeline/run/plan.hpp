#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "pipeline/base/machine_memory.hpp"
#include "pipeline/base/plan.hpp"
#include "pipeline/counts/expected_entries.hpp"
#include "pipeline/counts/plan.hpp"
#include "pipeline/recipes/recipe.hpp"
#include "pipeline/run/config.hpp"

namespace aloft {

/// What a run will take, estimated before any work.
struct RunPlan {
  CountPlan count;
  CountParams counting;             ///< how `count` was planned
  CountParams null;                 ///< memory that remains for counting the null
  std::uint64_t device_budget = 0;  ///< 0: the backend has no memory of its own
  std::vector<StagePlan> stages;    ///< those of the recipe, in order
  [[nodiscard]] std::uint64_t peak_memory() const;
  [[nodiscard]] std::uint64_t peak_device_memory() const;
  [[nodiscard]] std::uint64_t disk() const;
};

/// What is known of a corpus before it is counted.
struct CorpusFacts {
  std::int64_t vocab = 0;
  std::uint64_t expected_tokens = 0;  ///< 0: unknown
  bool repeatable = true;             ///< false: a pipe
  /// [lags] pairs that its counts store, where it is counted already
  std::vector<std::int64_t> entries = {};
  /// An estimate of these, where it is not
  ExpectedEntries expected = {};
};
/// What a recipe that reads no corpus is planned with.
[[nodiscard]] inline CorpusFacts no_corpus() { return {1, 0, true}; }

/// Of a corpus that is to be counted; reads its beginning where it can be read again.
[[nodiscard]] CorpusFacts look_at(Corpus& corpus, std::int32_t lags);

/// device_budget: machine_memory.hpp.
[[nodiscard]] CountParams count_params(const RunConfig& config, const CorpusFacts& corpus,
                                       std::uint64_t device_budget);

/// Throws ResourceError when counting cannot be done within config.memory_bytes, or device_budget; UsageError
/// when the recipe cannot be placed in the model.
[[nodiscard]] RunPlan plan_run(const RunConfig& config, const Architecture& arch, const ModelShape& shape,
                               const CorpusFacts& corpus, const Backend& backend);
/// What the device's buffers may take: its budget; where it shares the host's memory, what that leaves.
[[nodiscard]] std::uint64_t device_limit(const RunPlan& plan, const RunConfig& config);
/// plan_run(), for a run that is to begin. Throws ResourceError where it would exceed config.memory_bytes,
/// the device's budget, or the free space at config.output; of memory it names sizes that will do for all of
/// it.
[[nodiscard]] RunPlan plan_within_limits(const RunConfig& config, const Architecture& arch,
                                         const ModelShape& shape, const CorpusFacts& corpus,
                                         const Backend& backend);

}  // namespace aloft
