#include <algorithm>

#include "host/cuda_check.hpp"
#include "host/error.hpp"
#include "kernels/cuda/count_kernels.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/resident.cuh"

// Tables in global memory, all lags in one pass. A block stages a tile of ids and the halo behind it in
// shared memory, so each id is loaded once and past the caches, which belong to the counters; one thread owns
// a position and walks its lags until the document ends.
//
// Increments of one address queue up in L2, and the hottest pairs of a text are a few per cent of all. So
// where the chunk is long enough to pay for it, the corner [0, hot) × [0, hot) of every lag is counted in the
// block's shared memory and flushed once at the end. With ids numbered by frequency (remap) the corner holds
// a good part of a text's pairs; with any other numbering it is only less useful, never wrong.

namespace aloft::cuda {
namespace {

// 512 threads × 4 blocks fill a multiprocessor of compute capability 8.0 or 9.0, and 4 × (32 + 4) KiB of
// shared memory fit both.
constexpr unsigned kThreads = 512;
constexpr std::int64_t kTile = 1024;                // positions: the halo of 8 ids adds under 1% to the loads
constexpr std::int64_t kCornerCounters = 8 * 1024;  // 32 KiB; 32 × 32 for each of 8 lags

// counts: u32 [max_lag][n_rows][vocab]. shared: ids [kTile + max_lag], then u32 [max_lag][hot][hot].
// Row = id − row_begin; positions whose row is outside the stripe are skipped. hot <= n_rows, vocab; may be
// 0.
__global__ __launch_bounds__(kThreads) void count_pairs_walk(TokenChunk chunk, DenseCounts counts,
                                                             std::int64_t hot) {
  DYN_SHARED(unsigned, shared);
  TokenId* const tile = shared;
  unsigned* const corner = shared + kTile + counts.max_lag;
  const std::int64_t n_all = chunk.n_from + chunk.halo, n_tile = kTile + counts.max_lag;
  const std::int64_t n_corner = counts.max_lag * hot * hot;
  for (std::int64_t c = threadIdx.x; c < n_corner; c += blockDim.x) corner[c] = 0;

  for (std::int64_t base = blockIdx.x * kTile; base < chunk.n_from; base += gridDim.x * kTile) {
    for (std::int64_t i = threadIdx.x; i < n_tile; i += blockDim.x)
      tile[i] = base + i < n_all ? __ldcs(&chunk.ids[base + i]) : kDocumentBreak;
    __syncthreads();
    const std::int64_t n = min(kTile, chunk.n_from - base);
    for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) {
      if (tile[i] == kDocumentBreak) continue;
      const std::int64_t row = std::int64_t{tile[i]} - counts.row_begin;
      if (row < 0 || row >= counts.n_rows) continue;
      for (std::int32_t lag = 1; lag <= counts.max_lag; ++lag) {
        const TokenId to = tile[i + lag];
        if (to == kDocumentBreak) break;
        if (row < hot && to < hot)
          atomicAdd(&corner[((lag - 1) * hot + row) * hot + to], 1u);
        else
          atomicAdd(&counts.data[((lag - 1) * counts.n_rows + row) * counts.vocab + to], 1u);
      }
    }
    __syncthreads();  // the tile is read; the next one may replace it
  }

  for (std::int64_t c = threadIdx.x; c < n_corner; c += blockDim.x) {
    if (corner[c] == 0) continue;
    const std::int64_t lag = c / (hot * hot), row = c / hot % hot, to = c % hot;
    atomicAdd(&counts.data[(lag * counts.n_rows + row) * counts.vocab + to], corner[c]);
  }
}

// The widest corner whose counters fit, of all lags together.
std::int64_t corner_width(const DenseCounts& counts) {
  const std::int64_t limit = std::min(counts.n_rows, counts.vocab);
  std::int64_t width = 0;
  while (width < limit && (width + 1) * (width + 1) * counts.max_lag <= kCornerCounters) ++width;
  return width;
}

}  // namespace

void count_pairs_global(TokenChunk chunk, DenseCounts counts, cudaStream_t stream) {
  if (chunk.n_from == 0) return;
  const auto shared_bytes = [&](std::int64_t hot) {
    return static_cast<std::size_t>(kTile + counts.max_lag + counts.max_lag * hot * hot) * sizeof(unsigned);
  };
  std::int64_t hot = corner_width(counts);
  const std::int64_t resident =
      resident_blocks(reinterpret_cast<const void*>(count_pairs_walk), kThreads, shared_bytes(hot));
  const std::int64_t blocks = std::min((chunk.n_from + kTile - 1) / kTile, resident);
  // Clearing and scanning a corner costs a block about as much as counting hot² positions. It pays when the
  // block has several times that.
  if (chunk.n_from < 4 * hot * hot * blocks) hot = 0;
  check(launch(count_pairs_walk, static_cast<unsigned>(blocks), kThreads, shared_bytes(hot), stream, chunk,
               counts, hot));
}

}  // namespace aloft::cuda
