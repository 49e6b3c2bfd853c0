#include "kernels/cuda/vendor.hpp"
#include "tests/simt/vendor_call.hpp"

namespace aloft::cuda {

Vendor::Vendor(CudaDevice& device) : device_(device), handles_(std::make_unique<Handles>()) {}
Vendor::~Vendor() = default;

}  // namespace aloft::cuda
