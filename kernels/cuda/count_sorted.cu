#include <algorithm>
#include <bit>

#include "kernels/cuda/count_kernels.cuh"
#include "kernels/cuda/count_ops.hpp"
#include "kernels/cuda/each_element.cuh"
#include "kernels/cuda/reach.cuh"
#include "kernels/cuda/search.cuh"
#include "kernels/cuda/sparse.hpp"

// Counting without a table: the pairs of a chunk as numbers, sorted, and the lengths of their runs. The sort
// is the library's; here is what comes before and after it.

namespace aloft::cuda {
namespace {

/// A pair as one number whose order is that of (row, column): row << bits | column. `row` = vocab, which no
/// pair has, sorts behind all of them.
struct PairKeys {
  int bits = 0;  ///< of a token id or vocab
  std::int64_t vocab = 0;
};

/// reach [n_from]: how many of the lags 1..max_lag stay inside the position's document.
__device__ void reach_in_document(std::int64_t k, TokenChunk chunk, std::int32_t max_lag,
                                  std::uint8_t* reach) {
  reach[k] = static_cast<std::uint8_t>(reach_of(chunk, k, max_lag));
}

/// keys [n_from]: position k's pair at `lag`, or one past all pairs where the document ends before.
__device__ void make_pair_key(std::int64_t k, TokenChunk chunk, const std::uint8_t* reach, std::int32_t lag,
                              PairKeys shape, std::uint64_t* keys) {
  const bool pair = reach[k] >= lag;
  const std::uint64_t row = pair ? chunk.ids[k] : static_cast<std::uint64_t>(shape.vocab);
  keys[k] = row << shape.bits | (pair ? chunk.ids[k + lag] : 0u);
}

/// offsets [vocab + 1] from ascending distinct keys [runs]: how many lie before row i.
__device__ void offset_by_search(std::int64_t i, const std::uint64_t* unique, std::int64_t runs,
                                 PairKeys shape, std::uint64_t* offsets) {
  const std::uint64_t first = static_cast<std::uint64_t>(i) << shape.bits;
  offsets[i] = static_cast<std::uint64_t>(
      first_not_below(std::int64_t{0}, runs, [=](std::int64_t r) { return unique[r] < first; }));
}

__device__ void column_of_key(std::int64_t e, const std::uint64_t* unique, PairKeys shape,
                              std::uint32_t* columns) {
  columns[e] = static_cast<std::uint32_t>(unique[e] & ((std::uint64_t{1} << shape.bits) - 1));
}

}  // namespace

// One lag after the other: all lags in one sort, the lag on top of the key, would move the same bytes (more
// where the three further bits cost another pass) and need max_lag times the workspace.
std::vector<CountCsr> CudaCountOps::count_pairs_sparse(TokenChunk chunk, std::int64_t vocab,
                                                       std::int32_t max_lag) {
  check_chunk(chunk);
  check_lags(max_lag);
  const auto stream = device_.stream();
  const auto n = static_cast<std::size_t>(chunk.n_from);
  const PairKeys shape{static_cast<int>(std::bit_width(static_cast<std::uint64_t>(vocab))), vocab};
  Buffer<std::uint8_t> reach(device_, n);
  Buffer<std::uint64_t> keys(device_, n), alternate(device_, n), lengths(device_, n);
  for_each_element<reach_in_document>(stream, chunk.n_from, chunk, max_lag, reach.data());
  std::vector<CountCsr> out;
  for (std::int32_t lag = 1; lag <= max_lag; ++lag) {
    for_each_element<make_pair_key>(stream, chunk.n_from, chunk, reach.data(), lag, shape, keys.data());
    const std::uint64_t* const sorted =
        vendor_.sort_keys(keys.data(), alternate.data(), chunk.n_from, 0, 2 * shape.bits);
    std::uint64_t* const unique = sorted == keys.data() ? alternate.data() : keys.data();
    const std::int64_t runs = vendor_.run_lengths(sorted, chunk.n_from, unique, lengths.data());
    // Row `vocab`, the positions without a pair, lies behind the last offset and is left out.
    Buffer<std::uint64_t> offsets(device_, static_cast<std::size_t>(vocab) + 1);
    for_each_element<offset_by_search>(stream, vocab + 1, unique, runs, shape, offsets.data());
    const std::uint64_t nnz = read_one(device_, offsets.data() + vocab);
    CountCsr csr{vocab, vocab, std::move(offsets), Buffer<std::uint32_t>(device_, nnz),
                 Buffer<std::uint64_t>(device_, nnz)};
    for_each_element<column_of_key>(stream, csr.nnz(), unique, shape, csr.columns.data());
    device_.copy(csr.values.data(), lengths.data(), nnz * sizeof(std::uint64_t));
    out.push_back(std::move(csr));
  }
  return out;
}

std::uint64_t CudaCountOps::sparse_workspace_bytes(std::int64_t n, std::int64_t vocab,
                                                   std::int32_t max_lag) const {
  const auto tokens = static_cast<std::uint64_t>(n), lags = static_cast<std::uint64_t>(max_lag);
  // Keys, the sort's other buffer and run lengths; reach; and what the library asks for on top.
  constexpr std::uint64_t work = 3 * sizeof(std::uint64_t) + sizeof(std::uint8_t);
  const std::uint64_t library =
      std::max(vendor_.sort_keys_scratch(n).device, vendor_.run_lengths_scratch(n).device);
  constexpr std::uint64_t entry = sizeof(std::uint32_t) + sizeof(std::uint64_t);
  return tokens * (work + lags * entry) + library +
         lags * (static_cast<std::uint64_t>(vocab) + 1) * sizeof(std::uint64_t);
}

}  // namespace aloft::cuda
