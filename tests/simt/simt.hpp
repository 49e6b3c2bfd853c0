#pragma once
// Executes ordinary CUDA kernels on the CPU, for tests:
//
//   g++ -x c++ -include tests/simt/simt.hpp -c kernel.cu
//
// Each thread of a grid is a fiber of the launching OS thread; it runs until it waits in a barrier or a warp
// collective, or, with a seed, until it is pre-empted at random. Deadlocks, divergent barriers, wrong warp
// masks and illegal launches become errors of the launch. tests/README.md has the picture.
#ifdef __CUDACC__
#error "simt.hpp is for the host compiler; nvcc has the real thing"
#endif
#define SIMT_HOST 1
#define SIMT_JOIN_(a, b) a##b
#define SIMT_JOIN(a, b) SIMT_JOIN_(a, b)

// CUDA 13's host_defines.h keeps qualifiers that are defined already when __CUDACC__ is not.
#define __host__
#define __device__
#define __global__ __attribute__((section("simt_kernels")))  // symbols.cpp tells kernels from functions by it
#define __constant__
#define __managed__
#define __grid_constant__
// Static shared memory is a function's static: one block at a time has its values in place, and
// AddressSanitizer puts red zones around it. The marker lets symbols.cpp find the variable, so that every new
// block starts with garbage.
#define __shared__                                                          \
  static char SIMT_JOIN(simt_mark_, __COUNTER__) __attribute__((used)) = 1; \
  static

#include <cuda_runtime_api.h>
#include <vector_functions.h>

#undef __launch_bounds__
#define __launch_bounds__(...)

#include "tests/simt/atomics.hpp"
#include "tests/simt/collectives.hpp"
#include "tests/simt/device_math.hpp"
#include "tests/simt/engine.hpp"

inline const uint3 &threadIdx = simt::here.threadIdx, &blockIdx = simt::here.blockIdx;
inline const dim3 &blockDim = simt::here.blockDim, &gridDim = simt::here.gridDim;
inline constexpr int warpSize = 32;

#define DYN_SHARED(T, name) T* name = static_cast<T*>(simt::dynamic_shared())

// What `launch` of kernels/cuda/launch.cuh rests on.
template <class... P, class... A>
cudaError_t queue_kernel(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
                         cudaStream_t stream, A&&... args) {
  return simt::launch_with(false, kernel, grid, block, shared_bytes, stream, std::forward<A>(args)...);
}
