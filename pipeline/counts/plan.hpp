#pragma once
#include <cstdint>
#include <string>

#include "host/chunk_ring.hpp"
#include "pipeline/counts/counts.hpp"

namespace aloft {

/// How a corpus will be counted, and what that takes. All sizes in bytes, estimated before any work.
struct CountPlan {
  CountStrategy strategy = CountStrategy::dense;
  std::int64_t chunk_tokens = 0;
  std::int32_t chunks_at_once = ChunkRing::kSlots;  ///< in memory: no more than the corpus has
  std::int32_t stripes = 1;  ///< passes over the corpus; striped: each counts the pairs of some source ids
  std::int64_t stripe_rows = 0;       ///< source ids of a stripe (the last may have fewer); dense: all
  bool on_device = false;             ///< the three sizes below are the device's own memory, not the host's
  std::uint64_t table_bytes = 0;      ///< counters of a stripe
  std::uint64_t workspace_bytes = 0;  ///< chunks, groups, partial results
  std::uint64_t result_bytes = 0;     ///< upper estimate of J_1..J_max_lag as CSR
  std::uint64_t staging_bytes = 0;    ///< host memory that chunks pass through on their way to a device
  std::uint64_t budget_bytes = 0;     ///< what total_bytes() may be; 0: no limit
  std::string dense_kernel;           ///< dense and striped: how the backend counts into the table
  std::string reason;                 ///< one clause for the user

  [[nodiscard]] std::uint64_t total_bytes() const { return table_bytes + workspace_bytes + result_bytes; }
};

/// Chooses by size: one table when the corpus would fill it and it fits; a stripe of its rows at a time when
/// it does not fit but few passes do; grouped or sorted positions otherwise. Throws ResourceError when the
/// strategy asked for (or the only one left) exceeds the memory allowed, naming what it needs; UsageError
/// when stripes were asked for and the corpus can be read only once.
[[nodiscard]] CountPlan plan_count(const CountParams& p, const CountOps& ops);

[[nodiscard]] std::string strategy_name(CountStrategy s);

}  // namespace aloft
