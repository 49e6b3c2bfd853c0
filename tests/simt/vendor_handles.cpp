#include "kernels/cuda/vendor.hpp"

// The stand-ins for NVIDIA's libraries keep no handles: each call queues its work on the device's stream.

namespace aloft::cuda {

struct Vendor::Handles {};

Vendor::Vendor(CudaDevice& device) : device_(device) {}
Vendor::~Vendor() = default;

}  // namespace aloft::cuda
