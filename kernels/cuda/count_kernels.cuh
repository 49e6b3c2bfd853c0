#pragma once
#include <cuda_runtime_api.h>

#include "kernels/ops.hpp"

// The launches behind CudaCountOps: asynchronous on the stream, memory given by the caller. Each is described
// where it is defined.

namespace aloft::cuda {

/// A chunk reaches every kernel with at most this many lags: how far a position sees is kept in a byte.
inline constexpr std::int32_t kMaxLags = 255;

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

// ---- count_sorted.cu
/// A pair as one number whose order is that of (row, column): row << bits | column. `row` = vocab, which no
/// pair has, sorts behind all of them.
struct PairKeys {
  int bits = 0;  ///< of a token id or vocab
  std::int64_t vocab = 0;
};
/// reach [n_from]: how many of the lags 1..max_lag stay inside the position's document.
void find_reach(TokenChunk chunk, std::int32_t max_lag, std::uint8_t* reach, cudaStream_t stream);
/// keys [n_from]: position k's pair at `lag`, or one past all pairs where the document ends before.
void make_pair_keys(TokenChunk chunk, const std::uint8_t* reach, std::int32_t lag, PairKeys keys,
                    std::uint64_t* out, cudaStream_t stream);
/// offsets [vocab + 1] from ascending distinct keys [runs].
void offsets_of_pair_keys(const std::uint64_t* unique, std::int64_t runs, PairKeys keys,
                          std::uint64_t* offsets, cudaStream_t stream);
/// columns [nnz] from the first nnz keys.
void columns_of_pair_keys(const std::uint64_t* unique, std::int64_t nnz, PairKeys keys,
                          std::uint32_t* columns, cudaStream_t stream);

// ---- csr_compact.cu. rank as in CountOps::compact.
/// lengths [vocab + 1]: non-zero counters of each id's row, and 0 behind the last.
void count_row_entries(DenseCounts counts, std::int32_t lag, const TokenId* rank, std::uint64_t* lengths,
                       cudaStream_t stream);
/// Writes the entries of each row from offsets[row] on.
void write_row_entries(DenseCounts counts, std::int32_t lag, const TokenId* rank,
                       const std::uint64_t* offsets, std::uint32_t* columns, std::uint64_t* values,
                       cudaStream_t stream);

// ---- csr_add.cu
/// is_new [b.nnz + 1]: 1 where a has no entry in the place of b's entry, else 0; and 0 behind the last.
void find_new_entries(CountCsrView a, CountCsrView b, std::uint64_t* is_new, cudaStream_t stream);
/// The merged rows. new_before [b.nnz + 1]: exclusive sum of is_new. offsets [rows + 1], columns and values
/// [a.nnz + new_before[b.nnz]].
void merge_entries(CountCsrView a, CountCsrView b, const std::uint64_t* new_before, std::uint64_t* offsets,
                   std::uint32_t* columns, std::uint64_t* values, cudaStream_t stream);
/// *sum += Σ values[0..n)
void sum_values(const std::uint64_t* values, std::int64_t n, std::uint64_t* sum, cudaStream_t stream);

}  // namespace aloft::cuda
