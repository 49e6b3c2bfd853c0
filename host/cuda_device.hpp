#pragma once
#include <cuda_runtime_api.h>

#include <memory>
#include <string>

#include "host/device.hpp"

namespace aloft {

/// A CUDA device with one stream (its queue) and that device's stream-ordered memory pool.
class CudaDevice : public Device {
 public:
  [[nodiscard]] virtual cudaStream_t stream() const noexcept = 0;
};

/// The current device. Throws DeviceError if there is none.
[[nodiscard]] std::unique_ptr<CudaDevice> make_cuda_device();

struct CudaStatus {
  bool usable = false;
  std::string detail;  ///< GPU, compute capability, memory, driver and runtime; or why there is none
};
[[nodiscard]] CudaStatus cuda_status();

}  // namespace aloft
