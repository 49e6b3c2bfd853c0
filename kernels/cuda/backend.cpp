#include "kernels/cuda/backend.hpp"

#include "host/cuda_device.hpp"
#include "kernels/cuda/count_ops.hpp"
#include "kernels/cuda/linear_ops.hpp"

namespace aloft::cuda {

BackendInfo info() {
  const CudaStatus status = cuda_status();
  return {"cuda", true, status.usable, status.detail};
}

Backend make_backend() {
  Backend out;
  auto device = make_cuda_device();
  out.count = std::make_unique<CudaCountOps>(*device);
  out.linear = make_linear_ops(*device);
  out.device = std::move(device);
  return out;
}

}  // namespace aloft::cuda
