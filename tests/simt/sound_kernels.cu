#include <cooperative_groups.h>

#include "kernels/cuda/launch.cuh"
#include "tests/simt/sample_kernels.hpp"

namespace simt::samples {
namespace {

template <int bins>
__global__ void __launch_bounds__(256)
    histogram_kernel(const std::uint16_t* ids, std::size_t n, unsigned* out) {
  __shared__ unsigned bin[bins];
  for (unsigned i = threadIdx.x; i < bins; i += blockDim.x) bin[i] = 0;
  __syncthreads();
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n;
       i += std::size_t{gridDim.x} * blockDim.x)
    if (const unsigned id = ids[i]; id < bins) atomicAdd(&bin[id], 1u);
  __syncthreads();
  for (unsigned i = threadIdx.x; i < bins; i += blockDim.x)
    if (bin[i] != 0) atomicAdd(&out[i], bin[i]);
}

__global__ void __launch_bounds__(256)
    pair_counts_kernel(const std::uint16_t* ids, std::size_t n, unsigned vocab, unsigned* counts) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  // The whole block makes the same number of rounds: a warp collective needs all its lanes.
  for (std::size_t base = std::size_t{blockIdx.x} * blockDim.x; base < n; base += stride) {
    const std::size_t i = base + threadIdx.x;
    const unsigned from = i < n ? ids[i] : 0;
    for (unsigned lag = 1; lag <= kLags; ++lag) {
      const bool live = i + lag < n;
      const unsigned key = live ? from * vocab + ids[i + lag] : ~0u;
      const unsigned peers = __match_any_sync(0xffffffffu, key);
      if (live && lane == __ffs(static_cast<int>(peers)) - 1)
        atomicAdd(&counts[std::size_t{lag - 1} * vocab * vocab + key], static_cast<unsigned>(__popc(peers)));
    }
  }
}

__device__ unsigned long long block_sum(unsigned long long v) {
  __shared__ unsigned long long part[32];
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (unsigned d = 16; d > 0; d /= 2) v += __shfl_down_sync(0xffffffffu, v, d);
  if (lane == 0) part[warp] = v;
  __syncthreads();
  if (warp == 0) {
    v = lane < blockDim.x / 32 ? part[lane] : 0;
    for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
  }
  __syncthreads();
  return v;
}
__global__ void block_sums_kernel(const unsigned* x, std::size_t n, unsigned long long* out) {
  unsigned long long v = 0;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n;
       i += std::size_t{gridDim.x} * blockDim.x)
    v += x[i];
  v = block_sum(v);
  if (threadIdx.x == 0) out[blockIdx.x] = v;
}

template <class T>
__global__ void tiled_product_kernel(const T* a, const T* e, T* p, int m, int k, int d) {
  DYN_SHARED(T, tile);
  T *tile_a = tile, *tile_e = tile + 256;
  const int tx = static_cast<int>(threadIdx.x), ty = static_cast<int>(threadIdx.y);
  const int row = static_cast<int>(blockIdx.y) * 16 + ty, column = static_cast<int>(blockIdx.x) * 16 + tx;
  T sum = 0;
  for (int k0 = 0; k0 < k; k0 += 16) {
    tile_a[ty * 16 + tx] = row < m && k0 + tx < k ? a[row * k + k0 + tx] : T(0);
    tile_e[ty * 16 + tx] = column < d && k0 + ty < k ? e[(k0 + ty) * d + column] : T(0);
    __syncthreads();
    for (int j = 0; j < 16; ++j) sum += tile_a[ty * 16 + j] * tile_e[j * 16 + tx];
    __syncthreads();
  }
  if (row < m && column < d) p[row * d + column] = sum;
}

__global__ void normalise_kernel(float* x, int n, float* partial) {
  __shared__ float s[256];
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  s[threadIdx.x] = i < n ? x[i] : 0.0f;
  __syncthreads();
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) s[threadIdx.x] += s[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) partial[blockIdx.x] = s[0];
  cooperative_groups::this_grid().sync();
  float total = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) total += partial[b];
  if (i < n) x[i] /= total;
}

__global__ void spin_lock_kernel(int* lock, unsigned* out) {
  while (atomicCAS(lock, 0, 1) != 0) __nanosleep(32);
  __threadfence();
  out[0] = out[0] + 1;
  __threadfence();
  atomicExch(lock, 0);
}

__global__ void float_atomics_kernel(const float* x, int n, float* sum) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) atomicAdd(sum, x[i]);
}

__global__ void collectives_kernel(const unsigned* x, unsigned* out) {
  constexpr unsigned all = 0xffffffffu;
  const unsigned t = threadIdx.x, v = x[t];
  const int s = static_cast<int>(v) - 8;  // of both signs
  const unsigned results[kCollectives] = {
      __shfl_sync(all, v, 5),
      __shfl_sync(all, v, 3, 8),
      __shfl_up_sync(all, v, 2),
      __shfl_down_sync(all, v, 3, 16),
      __shfl_xor_sync(all, v, 9),
      __ballot_sync(all, static_cast<int>(v & 1)),
      static_cast<unsigned>(__any_sync(all, v == 1000)),
      static_cast<unsigned>(__all_sync(all, v < 1000)),
      __match_any_sync(all, v % 4),
      __reduce_add_sync(all, v),
      static_cast<unsigned>(__reduce_min_sync(all, s)),
      static_cast<unsigned>(__reduce_max_sync(all, s)),
      __reduce_xor_sync(all, v),
      static_cast<unsigned>(__syncthreads_count(v > 5) + 100 * __syncthreads_or(v == 1000) +
                            1000 * __syncthreads_and(v < 1000)),
  };
  for (unsigned k = 0; k < kCollectives; ++k) out[k * 32 + t] = results[k];
}

dim3 blocks_of(int n) { return dim3(static_cast<unsigned>(n)); }

}  // namespace

cudaError_t histogram(const std::uint16_t* ids, std::size_t n, unsigned* out, int blocks,
                      cudaStream_t stream) {
  return launch(histogram_kernel<kBins>, blocks_of(blocks), dim3(256), 0, stream, ids, n, out);
}
cudaError_t pair_counts(const std::uint16_t* ids, std::size_t n, unsigned vocab, unsigned* counts,
                        int blocks) {
  return launch(pair_counts_kernel, blocks_of(blocks), dim3(256), 0, nullptr, ids, n, vocab, counts);
}
cudaError_t block_sums(const unsigned* x, std::size_t n, unsigned long long* out, int blocks) {
  return launch(block_sums_kernel, blocks_of(blocks), dim3(256), 0, nullptr, x, n, out);
}
cudaError_t tiled_product(const float* a, const float* e, float* p, int m, int k, int d) {
  const dim3 grid(static_cast<unsigned>((d + 15) / 16), static_cast<unsigned>((m + 15) / 16));
  return launch(tiled_product_kernel<float>, grid, dim3(16, 16), 512 * sizeof(float), nullptr, a, e, p, m, k,
                d);
}
cudaError_t normalise(float* x, int n, float* partial) {
  return launch_with(true, normalise_kernel, blocks_of((n + 255) / 256), dim3(256), 0, nullptr, x, n,
                     partial);
}
cudaError_t spin_lock(int* lock, unsigned* out, int blocks) {
  return launch(spin_lock_kernel, blocks_of(blocks), dim3(64), 0, nullptr, lock, out);
}
cudaError_t float_atomics(const float* x, int n, float* sum) {
  return launch(float_atomics_kernel, blocks_of((n + 127) / 128), dim3(128), 0, nullptr, x, n, sum);
}
cudaError_t collectives(const unsigned* x, unsigned* out) {
  return launch(collectives_kernel, dim3(1), dim3(32), 0, nullptr, x, out);
}

}  // namespace simt::samples
