#pragma once
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/launch.cuh"

namespace aloft::cuda {

/// Σ x over a block of kElementThreads, for every thread; one order, so the same bits every time. scratch
/// [kElementThreads], shared. Every thread of the block must call it.
__device__ inline double sum_over_block(double x, double* scratch) {
  scratch[threadIdx.x] = x;
  __syncthreads();
  for (unsigned half = kElementThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) scratch[threadIdx.x] += scratch[threadIdx.x + half];
    __syncthreads();
  }
  const double sum = scratch[0];
  __syncthreads();  // before the next call writes
  return sum;
}

}  // namespace aloft::cuda
