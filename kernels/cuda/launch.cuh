#pragma once
#include <cuda_runtime.h>

#include <string>
#include <utility>

#include "host/cuda_check.hpp"

// How product code launches a kernel:
//
//   check(launch(kernel, grid, block, shared_bytes, stream, arguments...));
//
// and inside a kernel `DYN_SHARED(T, name);` declares its dynamic shared memory. Under nvcc these are thin
// wrappers of CUDA's own; when the tests execute kernels on the CPU (SIMT_HOST, tests/simt/), simt.hpp
// supplies DYN_SHARED and queue_kernel.
#ifndef SIMT_HOST
// One raw declaration, a typed pointer per kernel: two templates may not declare `extern __shared__` arrays
// of the same name and different types.
#define DYN_SHARED(T, name)                                           \
  extern __shared__ __align__(16) unsigned char launch_dyn_shared_[]; \
  T* name = reinterpret_cast<T*>(launch_dyn_shared_)

template <class... P, class... A>
cudaError_t queue_kernel(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
                         cudaStream_t stream, A&&... args) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, std::forward<A>(args)...);
}
#endif

namespace aloft {
/// A kernel's name, without namespaces and arguments.
[[nodiscard]] std::string kernel_name(const void* kernel);
}  // namespace aloft

/// Throws where ALOFT_CUDA_SYNC asks to wait and the kernel failed; otherwise returns what CUDA says of the
/// launch.
template <class... P, class... A>
cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                   A&&... args) {
  if (!aloft::cuda_sync)
    return queue_kernel(kernel, grid, block, shared_bytes, stream, std::forward<A>(args)...);
  // Asked for before the launch: a kernel that fails takes every later answer with it.
  const std::string name = aloft::kernel_name(reinterpret_cast<const void*>(kernel));
  aloft::wait_for(name, queue_kernel(kernel, grid, block, shared_bytes, stream, std::forward<A>(args)...),
                  stream);
  return cudaSuccess;
}
