#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "pipeline/count_plan.hpp"
#include "pipeline/machine_memory.hpp"
#include "pipeline/run_config.hpp"

namespace aloft {

/// What a run will take, estimated before any work. Bytes; memory is the peak of that stage with what earlier
/// ones keep.
struct StagePlan {
  std::string stage;
  std::uint64_t memory_bytes = 0;  ///< resident memory of the program; on the CPU backend all of it
  std::uint64_t device_bytes = 0;  ///< of a GPU's own memory, beside the host's
  std::uint64_t disk_bytes = 0;
  std::string note;
};
struct RunPlan {
  CountPlan count;
  CountParams null;                 ///< memory that remains for counting the null
  std::uint64_t device_budget = 0;  ///< 0: the backend has no memory of its own
  std::vector<StagePlan> stages;
  [[nodiscard]] std::uint64_t peak_memory() const;
  [[nodiscard]] std::uint64_t peak_device_memory() const;
  [[nodiscard]] std::uint64_t disk() const;
};

/// What is known of a corpus before it is counted.
struct CorpusFacts {
  std::int64_t vocab = 0;
  std::uint64_t expected_tokens = 0;  ///< 0: unknown
  bool repeatable = true;             ///< false: a pipe
  std::vector<std::int64_t> entries =
      {};  ///< [lags] pairs that its counts store, where it is counted already
};
/// device_budget: machine_memory.hpp.
[[nodiscard]] CountParams count_params(const RunConfig& config, const CorpusFacts& corpus,
                                       std::uint64_t device_budget);

/// Throws ResourceError when counting cannot be done within config.memory_bytes, or device_budget; UsageError
/// when an offset recipe cannot be placed in the model.
[[nodiscard]] RunPlan plan_run(const RunConfig& config, const Architecture& arch, const ModelShape& shape,
                               const CorpusFacts& corpus, const Backend& backend);
/// Throws ResourceError when the plan exceeds config.memory_bytes, the device's budget, or the free space at
/// config.output.
void check_plan(const RunPlan& plan, const RunConfig& config);

}  // namespace aloft
