#include <algorithm>

#include "host/cuda_check.hpp"
#include "kernels/cuda/count_kernels.cuh"
#include "kernels/cuda/each_element.cuh"
#include "kernels/cuda/resident.cuh"

// The unigram, and ids replaced by their rank.

namespace aloft::cuda {
namespace {

static_assert(sizeof(unsigned long long) == sizeof(std::uint64_t));

// 512 threads × 4 blocks fill a multiprocessor of compute capability 8.0 or 9.0; 4 × 32 KiB of counters fit
// both.
constexpr unsigned kThreads = 512;
constexpr std::int64_t kPrivateIds = 8192;

// Ids below n_private are counted in shared memory, the rest in global memory. Where ids are numbered by
// frequency, the shared ones are nearly all of a text; the atomics that are left hit many different counters.
// unigram: [vocab]; shared: u32 [n_private], a block's own counts of one launch.
__global__ __launch_bounds__(kThreads) void count_tokens_private(TokenChunk chunk, std::uint64_t* unigram,
                                                                 std::uint32_t n_private) {
  DYN_SHARED(unsigned, counters);
  for (std::uint32_t i = threadIdx.x; i < n_private; i += blockDim.x) counters[i] = 0;
  __syncthreads();
  for (std::int64_t k = first_element(); k < chunk.n_from; k += element_stride()) {
    const TokenId id = chunk.ids[k];
    if (id == kDocumentBreak) continue;
    if (id < n_private)
      atomicAdd(&counters[id], 1u);
    else
      atomicAdd(reinterpret_cast<unsigned long long*>(&unigram[id]), 1ull);
  }
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < n_private; i += blockDim.x)
    if (const unsigned n = counters[i]; n != 0)
      atomicAdd(reinterpret_cast<unsigned long long*>(&unigram[i]), static_cast<unsigned long long>(n));
}

/// out[k] = rank[ids[k]], k in [0, n_from + halo). The ranks in use stay in cache; the ids are read once.
__device__ void remap_id(std::int64_t k, TokenChunk chunk, const TokenId* rank, TokenId* out) {
  const TokenId id = __ldcs(&chunk.ids[k]);
  out[k] = id == kDocumentBreak ? kDocumentBreak : rank[id];
}

}  // namespace

void count_tokens(TokenChunk chunk, std::uint64_t* unigram, std::int64_t vocab, cudaStream_t stream) {
  if (chunk.n_from == 0) return;  // an empty grid is a launch error
  const std::int64_t n_private = std::min(vocab, kPrivateIds);
  const auto shared = static_cast<std::size_t>(n_private) * sizeof(unsigned);
  // A block that sees fewer tokens than it has counters spends more on clearing and flushing them.
  const std::int64_t least = std::max<std::int64_t>(n_private, kThreads);
  const std::int64_t blocks = std::clamp<std::int64_t>(
      chunk.n_from / least, 1,
      resident_blocks(reinterpret_cast<const void*>(count_tokens_private), kThreads, shared));
  check(launch(count_tokens_private, static_cast<unsigned>(blocks), kThreads, shared, stream, chunk, unigram,
               static_cast<std::uint32_t>(n_private)));
}

void remap(TokenChunk chunk, const TokenId* rank, TokenId* out, cudaStream_t stream) {
  for_each_element<remap_id>(stream, chunk.n_from + chunk.halo, chunk, rank, out);
}

}  // namespace aloft::cuda
