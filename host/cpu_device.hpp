#pragma once
#include <memory>

#include "host/device.hpp"

namespace aloft {

/// Host memory; the queue is the calling thread, so every call has finished when it returns.
[[nodiscard]] std::unique_ptr<Device> make_cpu_device();

}  // namespace aloft
