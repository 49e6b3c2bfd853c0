#include <algorithm>

#include "host/cuda_check.hpp"
#include "kernels/cuda/count_dense.cuh"
#include "kernels/cuda/launch.cuh"

namespace aloft::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMaxBlocks = 4096;  // enough to fill any GPU; beyond that each thread strides

unsigned blocks_for(std::int64_t n) {
  return static_cast<unsigned>(std::min((n + kThreads - 1) / kThreads, kMaxBlocks));
}

__device__ std::int64_t first_position() { return std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ std::int64_t grid_stride() { return std::int64_t{gridDim.x} * blockDim.x; }

__global__ __launch_bounds__(kThreads) void count_tokens_global(TokenChunk chunk, std::uint64_t* unigram) {
  static_assert(sizeof(unsigned long long) == sizeof(std::uint64_t));
  for (std::int64_t k = first_position(); k < chunk.n_from; k += grid_stride()) {
    const TokenId id = chunk.ids[k];
    if (id != kDocumentBreak) atomicAdd(reinterpret_cast<unsigned long long*>(&unigram[id]), 1ull);
  }
}

__global__ __launch_bounds__(kThreads) void remap_ids(TokenChunk chunk, const TokenId* rank, TokenId* out) {
  const std::int64_t n = chunk.n_from + chunk.halo;
  for (std::int64_t k = first_position(); k < n; k += grid_stride()) {
    const TokenId id = chunk.ids[k];
    out[k] = id == kDocumentBreak ? kDocumentBreak : rank[id];
  }
}

// One thread owns position k and walks its lags, so ids[k] is loaded once and the walk can stop at a
// document's end.
__global__ __launch_bounds__(kThreads) void count_pairs_global(TokenChunk chunk, DenseCounts counts) {
  const std::int64_t n_all = chunk.n_from + chunk.halo;
  for (std::int64_t k = first_position(); k < chunk.n_from; k += grid_stride()) {
    const TokenId from = chunk.ids[k];
    if (from == kDocumentBreak) continue;
    const std::int64_t row = std::int64_t{from} - counts.row_begin;
    if (row < 0 || row >= counts.n_rows) continue;
    for (std::int64_t lag = 1; lag <= counts.max_lag && k + lag < n_all; ++lag) {
      const TokenId to = chunk.ids[k + lag];
      if (to == kDocumentBreak) break;
      atomicAdd(&counts.data[((lag - 1) * counts.n_rows + row) * counts.vocab + to], 1u);
    }
  }
}

}  // namespace

void count_tokens(TokenChunk chunk, std::uint64_t* unigram, std::int64_t, cudaStream_t stream) {
  if (chunk.n_from == 0) return;  // an empty grid is a launch error
  check(
      launch(count_tokens_global, dim3(blocks_for(chunk.n_from)), dim3(kThreads), 0, stream, chunk, unigram));
}

void remap(TokenChunk chunk, const TokenId* rank, TokenId* out, cudaStream_t stream) {
  const std::int64_t n = chunk.n_from + chunk.halo;
  if (n == 0) return;
  check(launch(remap_ids, dim3(blocks_for(n)), dim3(kThreads), 0, stream, chunk, rank, out));
}

void count_pairs_dense(TokenChunk chunk, DenseCounts counts, cudaStream_t stream) {
  if (chunk.n_from == 0) return;
  check(launch(count_pairs_global, dim3(blocks_for(chunk.n_from)), dim3(kThreads), 0, stream, chunk, counts));
}

}  // namespace aloft::cuda
