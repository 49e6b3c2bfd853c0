#include "kernels/cuda/backend.hpp"

#include "host/cuda_device.hpp"
#include "kernels/cuda/count_ops.hpp"
#include "kernels/cuda/linear_ops.hpp"

namespace aloft::cuda {

BackendInfo info() {
  CudaStatus status = cuda_status();
  const bool usable = !status.gpus.empty();
  return {"cuda", true, usable, std::move(status.detail), std::move(status.gpus)};
}

Backend make_backend(int index) {
  Backend out;
  auto device = make_cuda_device(index);
  out.count = std::make_unique<CudaCountOps>(*device);
  out.linear = make_linear_ops(*device);
  out.device = std::move(device);
  return out;
}

}  // namespace aloft::cuda
