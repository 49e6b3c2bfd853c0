#include <algorithm>

#include "host/cuda_check.hpp"
#include "kernels/cuda/count_kernels.cuh"
#include "kernels/cuda/each_element.cuh"
#include "kernels/cuda/reach.cuh"
#include "kernels/cuda/resident.cuh"

// At most 256 ids: every increment in shared memory. One lag has 256 × 256 counters; as u32 (256 KiB) they do
// not fit a block's 227 KiB, as u16 two to a word (128 KiB) they do, also in the 163 KiB of compute
// capability 8.0. Splitting u32 counters by rows over two blocks takes the same memory and makes every block
// look at every token, half of them in vain; so: u16, and what a u16 cannot hold is carried to the table.
// Where a block may have less (99 KiB on 8.6, 8.9 and 12.0) that split is what is left: bands of rows, as few
// as fit.
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

/// packed[k] = ids[k] | reach << 8, where reach is how many of the lags stay inside the document (0 at a
/// break); k in [0, n_from + halo). All lags then read 2 bytes a position instead of 4 (1 + lag), through L2.
__device__ void pack_byte(std::int64_t k, TokenChunk chunk, std::int32_t max_lag, std::uint16_t* packed) {
  const auto reach = static_cast<unsigned>(reach_of(chunk, k, max_lag));
  packed[k] = static_cast<std::uint16_t>((chunk.ids[k] & 0xFFu) | reach << 8);
}

// Block (x, y): lag y / bands + 1, band y % bands of rows, tiles x, x + gridDim.x, ... of positions [0,
// n_from). table: u32 [max_lag][vocab][vocab]; shared: u16 [band_rows][vocab], cell c in half c % 2 of word
// c / 2.
__global__ __launch_bounds__(kThreads) void count_pairs_shared(const std::uint16_t* packed,
                                                               std::int64_t n_from, std::uint32_t vocab,
                                                               std::uint32_t band_rows,
                                                               std::uint32_t* table) {
  DYN_SHARED(unsigned, words);
  const std::uint32_t bands = (vocab + band_rows - 1) / band_rows;
  const std::uint32_t lag = blockIdx.y / bands + 1, first_row = blockIdx.y % bands * band_rows;
  const std::uint32_t rows = min(band_rows, vocab - first_row), n_words = (rows * vocab + 1) / 2;
  std::uint32_t* const counts = table + (std::int64_t{lag - 1} * vocab + first_row) * vocab;
  for (std::uint32_t w = threadIdx.x; w < n_words; w += blockDim.x) words[w] = 0;
  __syncthreads();

  for (std::int64_t tile = blockIdx.x * kTile; tile < n_from; tile += gridDim.x * kTile) {
    const std::int64_t end = min(tile + kTile, n_from);
    for (std::int64_t k = tile + threadIdx.x; k < end; k += blockDim.x) {
      const std::uint32_t at = packed[k];
      const std::uint32_t row = (at & 0xFFu) - first_row;  // huge where it is before the band
      if (at >> 8 < lag || row >= rows) continue;
      const std::uint32_t cell = row * vocab + (packed[k + lag] & 0xFFu);
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

std::size_t counter_bytes(std::int64_t rows, std::int64_t vocab) {
  return static_cast<std::size_t>((rows * vocab + 1) / 2) * sizeof(unsigned);
}

// The most rows whose counters a block of this GPU can hold, evenly dealt.
std::int64_t rows_of_a_band(std::int64_t vocab) {
  const std::size_t limit = shared_limit();
  std::int64_t bands = 1;
  const auto rows = [&] { return (vocab + bands - 1) / bands; };
  while (counter_bytes(rows(), vocab) > limit && bands < vocab) ++bands;
  return rows();
}

}  // namespace

std::int64_t byte_bands(std::int64_t vocab) {
  const std::int64_t rows = rows_of_a_band(vocab);
  return (vocab + rows - 1) / rows;
}

void count_pairs_bytes(TokenChunk chunk, DenseCounts counts, std::uint16_t* packed, cudaStream_t stream) {
  if (chunk.n_from == 0) return;
  for_each_element<pack_byte>(stream, chunk.n_from + chunk.halo, chunk, counts.max_lag, packed);
  const std::int64_t rows = rows_of_a_band(counts.vocab), bands = byte_bands(counts.vocab);
  const std::size_t shared = counter_bytes(rows, counts.vocab);
  const std::int64_t resident =
      resident_blocks(reinterpret_cast<const void*>(count_pairs_shared), kThreads, shared);
  const std::int64_t tiles = (chunk.n_from + kTile - 1) / kTile, across = counts.max_lag * bands;
  const std::int64_t slices = std::clamp<std::int64_t>(resident / across, 1, tiles);
  const dim3 grid{static_cast<unsigned>(slices), static_cast<unsigned>(across)};
  check(launch(count_pairs_shared, grid, kThreads, shared, stream, packed, chunk.n_from,
               static_cast<std::uint32_t>(counts.vocab), static_cast<std::uint32_t>(rows), counts.data));
}

}  // namespace aloft::cuda
