#pragma once
#include <cuda_runtime_api.h>

#include "host/error.hpp"

namespace aloft {

/// Throws DeviceError naming the caller's line and CUDA's own words.
inline void check(cudaError_t code, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  if (code == cudaSuccess) return;
  (void)cudaGetLastError();  // clear it, so that the next check reports its own failure
  const std::string what = at_line(file, line, cudaGetErrorString(code));
  if (code == cudaErrorMemoryAllocation) throw ResourceError("out of GPU memory: " + what);
  throw DeviceError(what);
}

}  // namespace aloft
