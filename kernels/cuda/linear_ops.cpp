#include "kernels/cuda/linear_ops.hpp"

namespace aloft::cuda {

CudaLinearOps::CudaLinearOps(CudaDevice& device) : device_(device), vendor_(device) {}
CudaLinearOps::~CudaLinearOps() = default;

std::unique_ptr<LinearOps> make_linear_ops(CudaDevice& device) {
  return std::make_unique<CudaLinearOps>(device);
}

}  // namespace aloft::cuda
