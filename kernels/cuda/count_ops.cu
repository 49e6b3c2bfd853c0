#include "kernels/cuda/count_ops.hpp"

#include <bit>

#include "host/error.hpp"
#include "kernels/cuda/count_kernels.cuh"
#include "kernels/cuda/sparse.cuh"

namespace aloft::cuda {
namespace {

constexpr std::int64_t kCounterLimit = std::int64_t{1} << 32;  // counters of one launch are u32

bool counts_as_bytes(std::int64_t vocab) { return vocab <= kByteVocab; }

void check_chunk(TokenChunk chunk) {
  expects(chunk.n_from < kCounterLimit, "a chunk of 2^32 tokens or more");
}
void check_lags(std::int32_t max_lag) {
  expects(max_lag >= 1 && max_lag <= kMaxLags, "max_lag outside 1..255");
}

}  // namespace

void CudaCountOps::count_tokens(TokenChunk chunk, std::uint64_t* unigram, std::int64_t vocab) {
  check_chunk(chunk);
  cuda::count_tokens(chunk, unigram, vocab, device_.stream());
}

void CudaCountOps::remap(TokenChunk chunk, const TokenId* rank, TokenId* out) {
  cuda::remap(chunk, rank, out, device_.stream());
}

void CudaCountOps::count_pairs_dense(TokenChunk chunk, DenseCounts counts) {
  check_chunk(chunk);
  check_lags(counts.max_lag);
  if (counts_as_bytes(counts.vocab) && counts.n_rows == counts.vocab) {
    const auto n = static_cast<std::size_t>(chunk.n_from + chunk.halo);
    if (packed_.size() < n) {
      packed_ = {};  // the old one first: never both
      packed_ = Buffer<std::uint16_t>(device_, n);
    }
    count_pairs_bytes(chunk, counts, packed_.data(), device_.stream());
  } else {
    count_pairs_global(chunk, counts, device_.stream());
  }
}

std::string CudaCountOps::dense_kernel(std::int64_t vocab, std::int32_t) const {
  if (!counts_as_bytes(vocab)) return "global-memory counters, frequent pairs in shared memory (V > 256)";
  const std::int64_t bands = byte_bands(vocab);
  if (bands == 1) return "shared-memory counters, one lag a block (V <= 256)";
  return "shared-memory counters, the rows of one lag over " + std::to_string(bands) +
         " blocks (V <= 256, but a block of this GPU cannot hold a lag)";
}

CountCsr CudaCountOps::compact(DenseCounts counts, std::int32_t lag, const TokenId* rank) {
  const auto stream = device_.stream();
  Buffer<std::uint64_t> offsets(device_, static_cast<std::size_t>(counts.vocab) + 1);
  count_row_entries(counts, lag, rank, offsets.data(), stream);
  vendor_.exclusive_sum(offsets.data(), offsets.data(), counts.vocab + 1);
  const std::uint64_t nnz = read_one(device_, offsets.data() + counts.vocab);
  CountCsr out{counts.vocab, counts.vocab, std::move(offsets), Buffer<std::uint32_t>(device_, nnz),
               Buffer<std::uint64_t>(device_, nnz)};
  write_row_entries(counts, lag, rank, out.row_offsets.data(), out.columns.data(), out.values.data(), stream);
  return out;
}

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
  find_reach(chunk, max_lag, reach.data(), stream);
  std::vector<CountCsr> out;
  for (std::int32_t lag = 1; lag <= max_lag; ++lag) {
    make_pair_keys(chunk, reach.data(), lag, shape, keys.data(), stream);
    const std::uint64_t* const sorted =
        vendor_.sort_keys(keys.data(), alternate.data(), chunk.n_from, 0, 2 * shape.bits);
    std::uint64_t* const unique = sorted == keys.data() ? alternate.data() : keys.data();
    const std::int64_t runs = vendor_.run_lengths(sorted, chunk.n_from, unique, lengths.data());
    // Row `vocab`, the positions without a pair, lies behind the last offset and is left out.
    Buffer<std::uint64_t> offsets(device_, static_cast<std::size_t>(vocab) + 1);
    offsets_of_pair_keys(unique, runs, shape, offsets.data(), stream);
    const std::uint64_t nnz = read_one(device_, offsets.data() + vocab);
    CountCsr csr{vocab, vocab, std::move(offsets), Buffer<std::uint32_t>(device_, nnz),
                 Buffer<std::uint64_t>(device_, nnz)};
    columns_of_pair_keys(unique, csr.nnz(), shape, csr.columns.data(), stream);
    device_.copy(csr.values.data(), lengths.data(), nnz * sizeof(std::uint64_t));
    out.push_back(std::move(csr));
  }
  return out;
}

std::uint64_t CudaCountOps::sparse_workspace_bytes(std::int64_t n, std::int64_t vocab,
                                                   std::int32_t max_lag) const {
  const auto tokens = static_cast<std::uint64_t>(n), lags = static_cast<std::uint64_t>(max_lag);
  // Keys, the sort's other buffer and run lengths; reach; and what the library asks for on top (histograms
  // and states per tile of some thousand keys: below a byte a key, with a floor of some megabytes).
  constexpr std::uint64_t work = 3 * sizeof(std::uint64_t) + sizeof(std::uint8_t) + 1;
  constexpr std::uint64_t library = 16 << 20;
  constexpr std::uint64_t entry = sizeof(std::uint32_t) + sizeof(std::uint64_t);
  return tokens * (work + lags * entry) + library +
         lags * (static_cast<std::uint64_t>(vocab) + 1) * sizeof(std::uint64_t);
}

CountCsr CudaCountOps::add(CountCsrView a, CountCsrView b) {
  expects(a.rows == b.rows && a.cols == b.cols, "matrices of different shapes were added");
  const auto stream = device_.stream();
  Buffer<std::uint64_t> new_before(device_, static_cast<std::size_t>(b.nnz) + 1);
  find_new_entries(a, b, new_before.data(), stream);
  vendor_.exclusive_sum(new_before.data(), new_before.data(), b.nnz + 1);
  const auto added = static_cast<std::int64_t>(read_one(device_, new_before.data() + b.nnz));
  CountCsr out = make_csr<std::uint64_t>(device_, a.rows, a.cols, a.nnz + added);
  merge_entries(a, b, new_before.data(), out.row_offsets.data(), out.columns.data(), out.values.data(),
                stream);
  return out;
}

std::uint64_t CudaCountOps::total(CountCsrView a) {
  auto sum = zeros<std::uint64_t>(device_, 1);
  sum_values(a.values, a.nnz, sum.data(), device_.stream());
  return read_one(device_, sum.data());
}

}  // namespace aloft::cuda
