#pragma once
#include <cstdint>
#include <vector>

#include "kernels/ops.hpp"

namespace aloft::cpu {

/// The counting half of the contract. count_dense.cpp: tables; count_sparse.cpp: grouped positions;
/// csr_counts.cpp: compact, add and total.
class CpuCountOps final : public CountOps {
 public:
  explicit CpuCountOps(Device& device) : device_(device) {}
  void count_tokens(TokenChunk chunk, std::uint64_t* unigram, std::int64_t vocab) override;
  void remap(TokenChunk chunk, const TokenId* rank, TokenId* out) override;
  void count_pairs_dense(TokenChunk chunk, DenseCounts counts) override;
  std::string dense_kernel(std::int64_t vocab, std::int32_t max_lag) const override;
  CountCsr compact(DenseCounts counts, std::int32_t lag, const TokenId* rank) override;
  std::vector<CountCsr> count_pairs_sparse(TokenChunk chunk, std::int64_t vocab,
                                           std::int32_t max_lag) override;
  std::uint64_t sparse_workspace_bytes(std::int64_t n, std::int64_t vocab,
                                       std::int32_t max_lag) const override;
  CountCsr add(CountCsrView a, CountCsrView b) override;
  std::uint64_t total(CountCsrView a) override;

 private:
  Device& device_;
};

/// Positions [begin, end) of a chunk, halo included, that hold no document break.
struct Segment {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};
[[nodiscard]] std::vector<Segment> document_segments(TokenChunk chunk);

}  // namespace aloft::cpu
