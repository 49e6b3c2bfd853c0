#pragma once
#include <cuda_runtime_api.h>

#include "kernels/ops.hpp"

namespace aloft::cuda {

/// CountOps::count_tokens, remap and count_pairs_dense on the stream; asynchronous.
void count_tokens(TokenChunk chunk, std::uint64_t* unigram, std::int64_t vocab, cudaStream_t stream);
void remap(TokenChunk chunk, const TokenId* rank, TokenId* out, cudaStream_t stream);
void count_pairs_dense(TokenChunk chunk, DenseCounts counts, cudaStream_t stream);

}  // namespace aloft::cuda
