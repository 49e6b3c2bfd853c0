#pragma once
#include <cstddef>
#include <cstdint>

// The race checker. Kernels compiled with -fsanitize=thread, but not linked with libtsan, call the functions
// of race_entry.cpp at each memory access, and these come here. It finds
//   * data races in shared and global memory (happens-before: __syncthreads, __syncwarp, grid sync, launch
//     order; shuffles and atomics order nothing, as in CUDA's memory model),
//   * reads of shared memory, or fresh device memory, that nobody has written,
// and pre-empts at memory accesses, by seed. Message passing through fences and flags is not modelled: it
// would be reported, so product kernels do without.

namespace simt {

inline constexpr unsigned kRead = 0, kWrite = 1, kAtomic = 2;  // flags of an access

/// `place`: the code address, or the file's name when line is not 0.
void checked_access(const void* p, std::size_t bytes, unsigned flags, std::uint64_t place, int line = 0);

}  // namespace simt
