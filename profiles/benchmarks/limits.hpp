#pragma once
#include <cstddef>

#include "profiles/benchmarks/harness.hpp"

// What the hardware allows, measured in the same run as the figures beside it. All are medians.

namespace aloft::profiles {

/// Bytes of a table that a big GPU's L2 (40 MB and more) keeps.
inline constexpr std::size_t kCachedTable = std::size_t{16} << 20;

/// Increments a second of a plain loop over uniform random indices. CPU: precomputed u32 indices, every
/// worker with indices and a table of its own, so that nothing is shared. CUDA: atomic increments of one
/// table by all threads, indices made in registers, so that atomics are all there is; of table_bytes the
/// largest power of two. table_bytes: of u32 counters; the memory comes from the device's own allocator, as
/// the counters' does.
[[nodiscard]] double random_increments_per_second(Device& device, Timer& timer, std::size_t table_bytes,
                                                  Scale scale);

/// CUDA: the same in shared memory, a table a block, in blocks and tables as large as those that count bytes.
/// Plain increments, the fastest there are; the counting kernel's also return what the counter held.
/// @pre device is a CudaDevice
[[nodiscard]] double shared_increments_per_second(Device& device, Timer& timer, Scale scale);

/// Bytes read plus bytes written a second by a copy within the device's memory, all workers together.
[[nodiscard]] double copy_bytes_per_second(Device& device, Timer& timer, Scale scale);

/// Bytes a second from page-locked host memory to the device (PCIe); 0 where host memory is the device's.
[[nodiscard]] double upload_bytes_per_second(Device& device, Timer& timer, Scale scale);

}  // namespace aloft::profiles
