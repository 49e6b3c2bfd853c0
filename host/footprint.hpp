#pragma once
#include <algorithm>
#include <cstdint>

namespace aloft {

/// Bytes in use at one moment: of a device's memory, which Buffers hold, and of the host's beside it. Where a
/// device shares the host's memory the two are one.
struct Footprint {
  std::uint64_t device = 0, host = 0;
  friend Footprint operator+(Footprint a, Footprint b) { return {a.device + b.device, a.host + b.host}; }
};
[[nodiscard]] inline Footprint on_device(std::uint64_t bytes) { return {bytes, 0}; }
[[nodiscard]] inline Footprint on_host(std::uint64_t bytes) { return {0, bytes}; }

/// The most of a sequence of moments.
class Peak {
 public:
  Peak() = default;
  void reach(Footprint now) {
    most_ = {std::max(most_.device, now.device), std::max(most_.host, now.host)};
    together_ = std::max(together_, now.device + now.host);
  }
  /// A step that takes `step` while `held` is held.
  void reach(Footprint held, const Peak& step) {
    most_ = {std::max(most_.device, held.device + step.most_.device),
             std::max(most_.host, held.host + step.most_.host)};
    together_ = std::max(together_, held.device + held.host + step.together_);
  }
  [[nodiscard]] std::uint64_t device() const { return most_.device; }
  [[nodiscard]] std::uint64_t host() const { return most_.host; }
  /// Of both at the same moment.
  [[nodiscard]] std::uint64_t together() const { return together_; }

 private:
  Footprint most_;
  std::uint64_t together_ = 0;
};

}  // namespace aloft
