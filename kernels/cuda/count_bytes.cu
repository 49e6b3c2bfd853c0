#include <algorithm>

#include "host/cuda_check.hpp"
#include "kernels/cuda/count_kernels.cuh"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/resident.cuh"

// At most 256 ids: every increment in shared memory. One lag has 256 × 256 counters; as u32 (256 KiB) they do
// not fit a block's 227 KiB, as u16 two to a word (128 KiB) they do, also in the 163 KiB of compute
// capability 8.0. Splitting u32 counters by rows over two blocks takes the same memory and makes every block
// look at every token, half of them in vain; so: u16, and what a u16 cannot hold is carried to the table.
//
// A block counts one lag over its share of the chunk, tile by tile. The thread whose increment takes a
// counter to kCarry moves kCarry of it to the table at once. A tile has at most kCarry positions and ends
// with a barrier, behind which every carry is done: a counter starts a tile below kCarry and ends below
// 2·kCarry even if its carry comes last, so it neither overflows into its neighbour nor reaches kCarry twice.
// Flushing all 65,536 counters every 65,535 positions would also be exact, but costs a scan as long as the
// tile.

namespace aloft::cuda {
namespace {

constexpr unsigned kThreads = 1024;        // one block a multiprocessor at 256 ids: make it as wide as can be
constexpr std::int64_t kTile = 16 * 1024;  // positions between barriers: 16 a thread
constexpr unsigned kCarry = 1u << 15;
static_assert(kTile <= kCarry, "a counter could reach the carry twice in a tile");

// packed[k] = ids[k] | reach << 8, where reach is how many of the lags stay inside the document (0 at a
// break); k in [0, n_from + halo). All lags then read 2 bytes a position instead of 4 (1 + lag), through L2.
__global__ __launch_bounds__(kElementThreads) void pack_bytes(TokenChunk chunk, std::int32_t max_lag,
                                                              std::uint16_t* packed) {
  const std::int64_t n_all = chunk.n_from + chunk.halo;
  for (std::int64_t k = first_element(); k < n_all; k += element_stride()) {
    const TokenId id = chunk.ids[k];
    std::int32_t reach = 0;
    if (id != kDocumentBreak)
      while (reach < max_lag && k + reach + 1 < n_all && chunk.ids[k + reach + 1] != kDocumentBreak) ++reach;
    packed[k] = static_cast<std::uint16_t>((id & 0xFFu) | static_cast<unsigned>(reach) << 8);
  }
}

// Block (x, y): lag y + 1, tiles x, x + gridDim.x, ... of positions [0, n_from).
// table: u32 [max_lag][vocab][vocab]; shared: u16 [vocab][vocab], cell c in half c % 2 of word c / 2.
__global__ __launch_bounds__(kThreads) void count_pairs_shared(const std::uint16_t* packed,
                                                               std::int64_t n_from, std::uint32_t vocab,
                                                               std::uint32_t* table) {
  DYN_SHARED(unsigned, words);
  const std::uint32_t cells = vocab * vocab, n_words = (cells + 1) / 2;
  const std::uint32_t lag = blockIdx.y + 1;
  std::uint32_t* const counts = table + std::int64_t{blockIdx.y} * cells;
  for (std::uint32_t w = threadIdx.x; w < n_words; w += blockDim.x) words[w] = 0;
  __syncthreads();

  for (std::int64_t tile = blockIdx.x * kTile; tile < n_from; tile += gridDim.x * kTile) {
    const std::int64_t end = min(tile + kTile, n_from);
    for (std::int64_t k = tile + threadIdx.x; k < end; k += blockDim.x) {
      const std::uint32_t at = packed[k];
      if (at >> 8 < lag) continue;
      const std::uint32_t cell = (at & 0xFFu) * vocab + (packed[k + lag] & 0xFFu);
      const unsigned shift = cell % 2 * 16;
      const unsigned before = atomicAdd(&words[cell / 2], 1u << shift) >> shift & 0xFFFFu;
      if (before + 1 == kCarry) {
        atomicSub(&words[cell / 2], kCarry << shift);
        atomicAdd(&counts[cell], kCarry);
      }
    }
    __syncthreads();
  }

  for (std::uint32_t w = threadIdx.x; w < n_words; w += blockDim.x) {
    const unsigned low = words[w] & 0xFFFFu, high = words[w] >> 16;
    if (low != 0) atomicAdd(&counts[2 * w], low);
    if (high != 0) atomicAdd(&counts[2 * w + 1], high);
  }
}

}  // namespace

void count_pairs_bytes(TokenChunk chunk, DenseCounts counts, std::uint16_t* packed, cudaStream_t stream) {
  if (chunk.n_from == 0) return;
  check(launch(pack_bytes, element_grid(chunk.n_from + chunk.halo), kElementThreads, 0, stream, chunk,
               counts.max_lag, packed));
  const auto vocab = static_cast<std::uint32_t>(counts.vocab);
  const std::size_t shared = (std::size_t{vocab} * vocab + 1) / 2 * sizeof(unsigned);
  const std::int64_t resident =
      resident_blocks(reinterpret_cast<const void*>(count_pairs_shared), kThreads, shared);
  const std::int64_t tiles = (chunk.n_from + kTile - 1) / kTile;
  const std::int64_t slices = std::clamp<std::int64_t>(resident / counts.max_lag, 1, tiles);
  const dim3 grid{static_cast<unsigned>(slices), static_cast<unsigned>(counts.max_lag)};
  check(launch(count_pairs_shared, grid, kThreads, shared, stream, packed, chunk.n_from, vocab, counts.data));
}

}  // namespace aloft::cuda
