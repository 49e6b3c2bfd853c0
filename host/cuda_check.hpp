#pragma once
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <string>
#include <string_view>

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

/// ALOFT_CUDA_SYNC=1 (anything but 0): every kernel and every call of a library is waited for, so that what
/// goes wrong on the GPU is reported by name, not by whoever waits next. Slow: for finding defects.
inline const bool cuda_sync = [] {
  const char* asked = std::getenv("ALOFT_CUDA_SYNC");
  return asked != nullptr && *asked != '\0' && std::string_view(asked) != "0";
}();

/// Waits for what was just queued, under that name, with `code`. Throws DeviceError if it failed.
inline void wait_for(std::string_view what, cudaError_t code, cudaStream_t stream) {
  if (code == cudaSuccess) code = cudaStreamSynchronize(stream);
  if (code == cudaSuccess) return;
  (void)cudaGetLastError();
  throw DeviceError(std::string(what) + " failed: " + cudaGetErrorString(code));
}

}  // namespace aloft
