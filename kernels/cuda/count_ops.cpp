#include "kernels/cuda/count_ops.hpp"

#include "kernels/cuda/count_kernels.cuh"

namespace aloft::cuda {
namespace {

bool counts_as_bytes(std::int64_t vocab) { return vocab <= kByteVocab; }

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

}  // namespace aloft::cuda
