#pragma once
#include "kernels/ops.hpp"

namespace aloft::cuda {

[[nodiscard]] BackendInfo info();
/// On GPU `index`. Throws DeviceError if it cannot be used.
[[nodiscard]] Backend make_backend(int index);

}  // namespace aloft::cuda
