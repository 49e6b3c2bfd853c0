#pragma once
#include <cstdint>
#include <string>

#include "pipeline/stages.hpp"

namespace aloft {

/// How a corpus will be counted, and what that takes. All sizes in bytes, estimated before any work.
struct CountPlan {
  CountStrategy strategy = CountStrategy::dense;
  std::int64_t chunk_tokens = 0;
  std::uint64_t table_bytes = 0;      ///< dense counters
  std::uint64_t workspace_bytes = 0;  ///< chunks, groups, partial rows
  std::uint64_t result_bytes = 0;     ///< upper estimate of J_1..J_max_lag as CSR
  std::string reason;                 ///< one clause for the user

  [[nodiscard]] std::uint64_t total_bytes() const { return table_bytes + workspace_bytes + result_bytes; }
};

/// Chooses by size: tables when the corpus would fill them and they fit, grouped positions otherwise. Throws
/// ResourceError when the strategy asked for (or the only one left) exceeds p.memory_bytes, naming what it
/// needs.
[[nodiscard]] CountPlan plan_count(const CountParams& p);

[[nodiscard]] std::string strategy_name(CountStrategy s);

}  // namespace aloft
