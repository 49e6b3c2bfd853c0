#pragma once
#include <cstdint>
#include <memory>

#include "profiles/benchmarks/harness.hpp"

// The part of the benchmarks that needs the CUDA runtime. `device` is always a CudaDevice.

namespace aloft::profiles {

/// Events around the work on the device's stream.
[[nodiscard]] std::unique_ptr<Timer> make_event_timer(Device& device);

/// ++table[indices[k]] for k in [0, n), one atomic each; asynchronous on the device's stream.
void increment_atomically(Device& device, std::uint32_t* table, const std::uint32_t* indices, std::int64_t n);

/// Page-locked host memory, zeroed.
class PageLocked {
 public:
  explicit PageLocked(std::size_t bytes);
  ~PageLocked();
  PageLocked(const PageLocked&) = delete;
  PageLocked& operator=(const PageLocked&) = delete;
  [[nodiscard]] void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

}  // namespace aloft::profiles
