#pragma once
#include <memory>

#include "host/cuda_device.hpp"
#include "kernels/cuda/vendor.hpp"
#include "kernels/ops.hpp"

namespace aloft::cuda {

/// The linear half of the contract (kernels/ops.hpp says what each does) on the GPU. Implemented by subject:
/// sparse.cu, sparse_real.cu, sparse_product.cu, dense.cu, elementwise.cu, softmax.cu, transpose.cu,
/// random.cu, orthonormalize.cpp, spectrum.cpp, skew_spectrum.cu, fourier.cu, scratch.cpp. What kernels
/// share: launch.cuh, grid.cuh, each_element.cuh, warp.cuh, block_sum.cuh, search.cuh.
class CudaLinearOps final : public LinearOps {
 public:
  explicit CudaLinearOps(CudaDevice& device);
  ~CudaLinearOps() override;  // in linear_ops.cpp: the object file that needs every method below

#include "kernels/linear_ops_methods.inc"

 private:
  CudaDevice& device_;
  Vendor vendor_;
};

[[nodiscard]] std::unique_ptr<LinearOps> make_linear_ops(CudaDevice& device);

}  // namespace aloft::cuda
