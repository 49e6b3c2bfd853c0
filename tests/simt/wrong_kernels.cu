#include "kernels/cuda/launch.cuh"
#include "tests/simt/sample_kernels.hpp"

// Each branch is what somebody writes on a bad day.

namespace simt::samples {
namespace {

__device__ void missing_barrier_in_loop(unsigned* s, unsigned* g) {
  const unsigned t = threadIdx.x;
  s[t] = t;
  __syncthreads();
  for (int k = 0; k < 4; ++k) {
    const unsigned v = s[(t + 1) % blockDim.x];
    s[t] = v;  // a neighbour may not have read the old value yet
    __syncthreads();
  }
  g[t] = s[t];
}

__device__ void missing_trailing_barrier(unsigned* s, unsigned* g) {
  const unsigned t = threadIdx.x;
  unsigned sum = 0;
  for (unsigned round = 1; round <= 2; ++round) {
    unsigned v = round;
    for (unsigned d = 16; d > 0; d /= 2) v += __shfl_down_sync(0xffffffffu, v, d);
    if (t % 32 == 0) s[t / 32] = v;  // in round 2: while warp 0 still adds up round 1
    __syncthreads();
    if (t == 0)
      for (unsigned w = 0; w < blockDim.x / 32; ++w) sum += s[w];
  }
  if (t == 0) g[0] = sum;
}

// Long: one defect after the other.
__global__ void wrong_kernel(Defect defect, unsigned* g, unsigned n) {
  __shared__ unsigned s[256];
  const unsigned t = threadIdx.x, last = blockDim.x - 1;
  switch (defect) {
    case Defect::none:
      g[t] = t;
      break;
    case Defect::missing_barrier:
      s[t] = t;
      g[t] = s[last - t];
      break;
    case Defect::missing_barrier_in_loop:
      missing_barrier_in_loop(s, g);
      break;
    case Defect::plain_increment_in_shared:
      if (t == 0) s[0] = 0;
      __syncthreads();
      s[0] = s[0] + 1;
      __syncthreads();
      if (t == 0) g[0] = s[0];
      break;
    case Defect::plain_increment_in_global:
      g[0] = g[0] + 1;
      break;
    case Defect::missing_trailing_barrier:
      missing_trailing_barrier(s, g);
      break;
    case Defect::missing_syncwarp:
      s[t] = t;
      g[t] = s[t ^ 1];
      __syncwarp();
      break;
    case Defect::divergent_barrier:
      if (t < 32)
        __syncthreads();
      else
        __syncthreads();
      g[t] = 1;
      break;
    case Defect::skipped_barrier:
      if (t < last) __syncthreads();
      g[t] = 1;
      break;
    case Defect::early_return_before_barrier:
      if (t >= n) return;
      s[t] = 1;
      __syncthreads();
      g[t] = s[t];
      break;
    case Defect::partial_warp_in_full_mask: {
      unsigned v = t;
      if (t % 32 < 16) v = __shfl_down_sync(0xffffffffu, v, 1);
      __syncthreads();
      g[t] = v;
      break;
    }
    case Defect::lane_outside_its_mask:
      g[t] = __ballot_sync(0x0000ffffu, 1);
      break;
    case Defect::shuffle_from_absent_lane:  // with 48 threads warp 1 is half empty
      g[t] = __shfl_down_sync(0xffffffffu, t, 16);
      break;
    case Defect::unwritten_shared:
      if (t > 0) s[t] = 0;
      __syncthreads();
      atomicAdd(&s[t % 2], 1u);
      __syncthreads();
      g[t] = s[t];
      break;
    case Defect::static_shared_overflow:
      s[t + 1] = t;  // s[256] for the last of 256 threads
      __syncthreads();
      g[t] = s[t];
      break;
    case Defect::global_overflow:
      g[t + 1] = t;
      break;
    case Defect::dynamic_shared_overflow: {
      DYN_SHARED(unsigned, dynamic);
      dynamic[t + 1] = t;
      __syncthreads();
      g[t] = dynamic[t];
      break;
    }
  }
}

}  // namespace

cudaError_t wrong(Defect defect, unsigned* g, int n, int blocks, int threads, std::size_t shared_bytes) {
  return launch(wrong_kernel, dim3(static_cast<unsigned>(blocks)), dim3(static_cast<unsigned>(threads)),
                shared_bytes, nullptr, defect, g, static_cast<unsigned>(n));
}

}  // namespace simt::samples
