#pragma once
#include <cstddef>

#include "profiles/benchmarks/harness.hpp"

// What the hardware allows, measured in the same run as the figures beside it. All are medians.

namespace aloft::profiles {

/// Increments a second of a plain loop over precomputed uniform random u32 indices. CPU: every worker has
/// indices and a table of its own, so nothing is shared; CUDA: atomic increments of one table. table_bytes:
/// of u32 counters; the memory comes from the device's own allocator, as the counters' does.
[[nodiscard]] double random_increments_per_second(Device& device, Timer& timer, std::size_t table_bytes);

/// Bytes read plus bytes written a second by a copy within the device's memory, all workers together.
[[nodiscard]] double copy_bytes_per_second(Device& device, Timer& timer);

/// Bytes a second from page-locked host memory to the device (PCIe); 0 where host memory is the device's.
[[nodiscard]] double upload_bytes_per_second(Device& device, Timer& timer);

}  // namespace aloft::profiles
