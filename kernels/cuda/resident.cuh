#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "host/cuda_check.hpp"

namespace aloft::cuda {

/// Bytes of dynamic shared memory that a block of the current GPU can be given when asked for: 227 KiB with
/// compute capability 9.0 and 10.0, 163 with 8.0, 99 with 8.6, 8.9 and 12.0.
[[nodiscard]] inline std::size_t shared_limit() {
  int device = 0, bytes = 0;
  check(cudaGetDevice(&device));
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  return static_cast<std::size_t>(bytes);
}

/// How many blocks of this shape the GPU runs at once. Kernels that keep private counters use no more: each
/// further block would only add another set to clear and to flush. Also allows `shared_bytes` of dynamic
/// shared memory where that is above the 48 KiB every kernel may have.
[[nodiscard]] inline std::int64_t resident_blocks(const void* kernel, unsigned threads,
                                                  std::size_t shared_bytes) {
  constexpr std::size_t without_asking = 48 << 10;
  if (shared_bytes > without_asking)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes)));
  int device = 0, multiprocessors = 0, blocks = 0;
  check(cudaGetDevice(&device));
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, static_cast<int>(threads),
                                                      shared_bytes));
  return std::int64_t{blocks} * multiprocessors;
}

}  // namespace aloft::cuda
