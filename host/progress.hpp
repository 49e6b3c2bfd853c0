#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace aloft {

/// Where long work says how far it is. Implementations must be cheap to call often (they rate-limit
/// themselves).
class ProgressSink {
 public:
  ProgressSink() = default;
  ProgressSink(const ProgressSink&) = delete;
  ProgressSink& operator=(const ProgressSink&) = delete;
  virtual ~ProgressSink() = default;
  /// `done` of `total` (0: unknown) on whatever scale; `items` are what the rate counts ("tokens", "layers").
  virtual void update(std::string_view stage, double done, double total, std::uint64_t items,
                      std::string_view unit) = 0;
  virtual void finish(std::string_view stage, double seconds, bool resumed) = 0;
  /// One line that a user should know.
  virtual void note(const std::string& line) { static_cast<void>(line); }
};

class NoProgress final : public ProgressSink {
 public:
  void update(std::string_view, double, double, std::uint64_t, std::string_view) override {}
  void finish(std::string_view, double, bool) override {}
};

}  // namespace aloft
