#pragma once
#include "kernels/ops.hpp"

namespace aloft::cuda {

[[nodiscard]] BackendInfo info();
/// Throws DeviceError without a device.
[[nodiscard]] Backend make_backend();

}  // namespace aloft::cuda
