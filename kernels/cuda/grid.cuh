#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

// The usual launch of an elementwise kernel: one thread an element up to a full GPU, then each thread
// strides; items of a batch along y.

namespace aloft::cuda {

inline constexpr unsigned kElementThreads = 256;
inline constexpr std::int64_t kMaxBlocks = 4096;    // fills any GPU several times over
inline constexpr std::int64_t kMaxBlocksY = 65535;  // the hardware's limit

inline dim3 element_grid(std::int64_t elements, std::int64_t batch = 1) {
  const std::int64_t blocks = (elements + kElementThreads - 1) / kElementThreads;
  return {static_cast<unsigned>(std::min(blocks, kMaxBlocks)),
          static_cast<unsigned>(std::min(batch, kMaxBlocksY))};
}

__device__ inline std::int64_t first_element() { return std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline std::int64_t element_stride() { return std::int64_t{gridDim.x} * blockDim.x; }

}  // namespace aloft::cuda
