#include "host/cuda_check.hpp"
#include "kernels/cuda/count_kernels.cuh"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/launch.cuh"

// Counting without a table: the pairs of a chunk as numbers, sorted, and the lengths of their runs. The sort
// is the library's; here is what stands before and behind it.

namespace aloft::cuda {
namespace {

__global__ __launch_bounds__(kElementThreads) void reach_in_document(TokenChunk chunk, std::int32_t max_lag,
                                                                     std::uint8_t* reach) {
  const std::int64_t n_all = chunk.n_from + chunk.halo;
  for (std::int64_t k = first_element(); k < chunk.n_from; k += element_stride()) {
    std::int32_t n = 0;
    if (chunk.ids[k] != kDocumentBreak)
      while (n < max_lag && k + n + 1 < n_all && chunk.ids[k + n + 1] != kDocumentBreak) ++n;
    reach[k] = static_cast<std::uint8_t>(n);
  }
}

__global__ __launch_bounds__(kElementThreads) void pair_keys(TokenChunk chunk, const std::uint8_t* reach,
                                                             std::int32_t lag, PairKeys keys,
                                                             std::uint64_t* out) {
  for (std::int64_t k = first_element(); k < chunk.n_from; k += element_stride()) {
    const bool pair = reach[k] >= lag;
    const std::uint64_t row = pair ? chunk.ids[k] : static_cast<std::uint64_t>(keys.vocab);
    out[k] = row << keys.bits | (pair ? chunk.ids[k + lag] : 0u);
  }
}

// offsets[i] = how many keys lie before row i, i in [0, vocab].
__global__ __launch_bounds__(kElementThreads) void offsets_by_search(const std::uint64_t* unique,
                                                                     std::int64_t runs, PairKeys keys,
                                                                     std::uint64_t* offsets) {
  for (std::int64_t i = first_element(); i <= keys.vocab; i += element_stride()) {
    const std::uint64_t first = static_cast<std::uint64_t>(i) << keys.bits;
    std::int64_t low = 0, high = runs;
    while (low < high) {
      const std::int64_t middle = (low + high) / 2;
      if (unique[middle] < first)
        low = middle + 1;
      else
        high = middle;
    }
    offsets[i] = static_cast<std::uint64_t>(low);
  }
}

__global__ __launch_bounds__(kElementThreads) void columns_of_keys(const std::uint64_t* unique,
                                                                   std::int64_t nnz, PairKeys keys,
                                                                   std::uint32_t* columns) {
  const std::uint64_t mask = (std::uint64_t{1} << keys.bits) - 1;
  for (std::int64_t e = first_element(); e < nnz; e += element_stride())
    columns[e] = static_cast<std::uint32_t>(unique[e] & mask);
}

}  // namespace

void find_reach(TokenChunk chunk, std::int32_t max_lag, std::uint8_t* reach, cudaStream_t stream) {
  if (chunk.n_from == 0) return;
  check(launch(reach_in_document, element_grid(chunk.n_from), kElementThreads, 0, stream, chunk, max_lag,
               reach));
}

void make_pair_keys(TokenChunk chunk, const std::uint8_t* reach, std::int32_t lag, PairKeys keys,
                    std::uint64_t* out, cudaStream_t stream) {
  if (chunk.n_from == 0) return;
  check(launch(pair_keys, element_grid(chunk.n_from), kElementThreads, 0, stream, chunk, reach, lag, keys,
               out));
}

void offsets_of_pair_keys(const std::uint64_t* unique, std::int64_t runs, PairKeys keys,
                          std::uint64_t* offsets, cudaStream_t stream) {
  check(launch(offsets_by_search, element_grid(keys.vocab + 1), kElementThreads, 0, stream, unique, runs,
               keys, offsets));
}

void columns_of_pair_keys(const std::uint64_t* unique, std::int64_t nnz, PairKeys keys,
                          std::uint32_t* columns, cudaStream_t stream) {
  if (nnz == 0) return;
  check(launch(columns_of_keys, element_grid(nnz), kElementThreads, 0, stream, unique, nnz, keys, columns));
}

}  // namespace aloft::cuda
