#pragma once
#include "host/cuda_device.hpp"
#include "kernels/cuda/vendor.hpp"
#include "kernels/ops.hpp"

namespace aloft::cuda {

/// The counting half of the contract; every step on the GPU. count_tokens.cu: unigram and remap;
/// count_bytes.cu and count_global.cu: tables, and count_ops.cpp chooses between them; count_sorted.cu: no
/// table; csr_compact.cu, csr_add.cu: rows.
class CudaCountOps final : public CountOps {
 public:
  explicit CudaCountOps(CudaDevice& device) : device_(device), vendor_(device) {}
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
  CudaDevice& device_;
  Vendor vendor_;
  Buffer<std::uint16_t>
      packed_;  ///< a chunk as count_bytes.cu reads it; kept, so that chunks allocate nothing
};

}  // namespace aloft::cuda
