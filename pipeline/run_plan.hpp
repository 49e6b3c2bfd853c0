#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "pipeline/count_plan.hpp"
#include "pipeline/run_config.hpp"

namespace aloft {

/// What a run will take, estimated before any work. Bytes; memory is the peak of that stage with what it
/// keeps.
struct StagePlan {
  std::string stage;
  std::uint64_t memory_bytes = 0;
  std::uint64_t disk_bytes = 0;
  std::string note;
};
struct RunPlan {
  CountPlan count;
  std::vector<StagePlan> stages;
  [[nodiscard]] std::uint64_t peak_memory() const;
  [[nodiscard]] std::uint64_t disk() const;
};

/// Throws ResourceError when counting cannot be done within config.memory_bytes.
[[nodiscard]] RunPlan plan_run(const RunConfig& config, const ModelShape& shape, std::int64_t corpus_vocab,
                               std::uint64_t expected_tokens);
/// Throws ResourceError when the plan exceeds config.memory_bytes or the free space at config.output.
void check_plan(const RunPlan& plan, const RunConfig& config);

/// Memory this machine could give now, in bytes (MemAvailable); 0 if it does not say.
[[nodiscard]] std::uint64_t available_memory();
/// Free bytes of the file system that `path` (or its nearest existing parent) is on.
[[nodiscard]] std::uint64_t free_disk(const std::string& path);

}  // namespace aloft
