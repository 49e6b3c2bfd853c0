#pragma once
#include <cuda_runtime.h>

// How product code launches a kernel. Under nvcc these are thin wrappers over cudaLaunchKernelEx; when the
// tests execute kernels on the CPU (SIMT_HOST, tests/simt/), simt.hpp supplies the same names.
//
//   check(launch(kernel, grid, block, shared_bytes, stream, arguments...));
//
// and inside a kernel `DYN_SHARED(T, name);` declares its dynamic shared memory.
#ifndef SIMT_HOST
#include <utility>

// One raw declaration, a typed pointer per kernel: two templates may not declare `extern __shared__` arrays
// of the same name and different types.
#define DYN_SHARED(T, name)                                           \
  extern __shared__ __align__(16) unsigned char launch_dyn_shared_[]; \
  T* name = reinterpret_cast<T*>(launch_dyn_shared_)

template <class... P, class... A>
cudaError_t launch_impl(bool cooperative, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
                        cudaStream_t stream, A&&... args) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeCooperative;
  attribute.val.cooperative = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = cooperative ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, std::forward<A>(args)...);
}
template <class... P, class... A>
cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                   A&&... args) {
  return launch_impl(false, kernel, grid, block, shared_bytes, stream, std::forward<A>(args)...);
}
template <class... P, class... A>
cudaError_t launch_cooperative(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
                               cudaStream_t stream, A&&... args) {
  return launch_impl(true, kernel, grid, block, shared_bytes, stream, std::forward<A>(args)...);
}
#endif
