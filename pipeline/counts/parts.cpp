#include "pipeline/counts/parts.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace aloft {
namespace {

/// Goes through the sum of parts with sizes alone.
class Parts {
 public:
  explicit Parts(const PartsShape& shape) : shape_(shape) {}

  void add_chunk() {
    const double chunk = size(1);
    reach(held_ + static_cast<double>(shape_.counting) + chunk);
    weights_.push_back(1);
    held_ += chunk;
    while (weights_.size() > 1 && weights_[weights_.size() - 2] <= weights_.back()) merge_last_two();
  }
  void finish() {
    while (weights_.size() > 1) merge_last_two();
  }
  [[nodiscard]] double most() const { return most_; }

 private:
  [[nodiscard]] double size(double weight) const {
    const double entries = static_cast<double>(shape_.result) *
                           std::pow(std::min(weight, shape_.chunks) / shape_.chunks, shape_.growth);
    return static_cast<double>(shape_.offsets) +
           std::min(entries, weight * static_cast<double>(shape_.largest));
  }
  void reach(double bytes) { most_ = std::max(most_, bytes); }
  void merge_last_two() {
    const double b = weights_.back(), a = weights_[weights_.size() - 2];
    const double sum = size(a + b);
    reach(held_ + 2 * sum / shape_.lags);  // a lag's sum, and a number for each entry of a part
    held_ += sum - size(a) - size(b);
    weights_.pop_back();
    weights_.back() = a + b;
  }

  const PartsShape& shape_;
  std::vector<double> weights_;  ///< chunks in each part
  double held_ = 0, most_ = 0;
};

}  // namespace

std::uint64_t most_bytes_of_parts(const PartsShape& shape) {
  Parts parts(shape);
  const auto chunks = static_cast<std::int64_t>(std::ceil(shape.chunks));
  for (std::int64_t k = 0; k < chunks; ++k) parts.add_chunk();
  parts.finish();
  return static_cast<std::uint64_t>(parts.most());
}

}  // namespace aloft
