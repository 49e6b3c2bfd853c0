#pragma once
#include <cuda_runtime_api.h>

#include "host/error.hpp"
#include "kernels/ops.hpp"

// The launches behind CudaCountOps' dense counting: asynchronous on the stream, memory given by the caller.
// Each is described where it is defined. They are functions of their own, so that tests can plant races in
// copies of them and benchmarks can time them.

namespace aloft::cuda {

/// A chunk reaches every kernel with at most this many lags: how far a position sees is kept in a byte.
inline constexpr std::int32_t kMaxLags = 255;
inline void check_lags(std::int32_t max_lag) {
  expects(max_lag >= 1 && max_lag <= kMaxLags, "max_lag outside 1..255");
}
/// Counters of one launch are u32.
inline void check_chunk(TokenChunk chunk) {
  expects(chunk.n_from < std::int64_t{1} << 32, "a chunk of 2^32 tokens or more");
}

// ---- count_tokens.cu
void count_tokens(TokenChunk chunk, std::uint64_t* unigram, std::int64_t vocab, cudaStream_t stream);
void remap(TokenChunk chunk, const TokenId* rank, TokenId* out, cudaStream_t stream);

// ---- count_bytes.cu
/// Ids and document ends fit a byte each, and one lag's counters fit the shared memory of one block or a few.
inline constexpr std::int64_t kByteVocab = 256;
/// Blocks that one lag's rows are dealt to, for the shared memory that a block of the current GPU may have.
[[nodiscard]] std::int64_t byte_bands(std::int64_t vocab);
/// packed: workspace [n_from + halo]. @pre counts.vocab <= kByteVocab, all rows
void count_pairs_bytes(TokenChunk chunk, DenseCounts counts, std::uint16_t* packed, cudaStream_t stream);

// ---- count_global.cu
void count_pairs_global(TokenChunk chunk, DenseCounts counts, cudaStream_t stream);

}  // namespace aloft::cuda
