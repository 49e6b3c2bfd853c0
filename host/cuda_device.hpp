#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/device.hpp"
#include "host/gpu_info.hpp"

namespace aloft {

/// A CUDA device with one stream (its queue) and that device's stream-ordered memory pool.
class CudaDevice : public Device {
 public:
  [[nodiscard]] virtual cudaStream_t stream() const noexcept = 0;
};

/// GPU `index`, which becomes the calling thread's current one. Only threads where it is current may use the
/// device, and what is queued on it (the threads that read a corpus do not). Throws DeviceError if it cannot
/// be used.
[[nodiscard]] std::unique_ptr<CudaDevice> make_cuda_device(int index = 0);

/// Starts no GPU.
struct CudaStatus {
  std::vector<GpuInfo> gpus;  ///< by index
  std::string detail;         ///< the first GPU, driver and runtime; or why there is none
};
[[nodiscard]] CudaStatus cuda_status();

/// Bytes free on GPU `index`, which this starts; nothing where that fails (another process may keep it).
/// Leaves the thread's current device as it was.
[[nodiscard]] std::optional<std::uint64_t> cuda_free_memory(int index);

}  // namespace aloft
