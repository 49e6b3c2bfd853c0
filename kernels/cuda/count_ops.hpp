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
#include "kernels/count_ops_methods.inc"

 private:
  CudaDevice& device_;
  Vendor vendor_;
  Buffer<std::uint16_t>
      packed_;  ///< a chunk as count_bytes.cu reads it; kept, so that chunks allocate nothing
};

}  // namespace aloft::cuda
