#pragma once
#include <algorithm>
#include <cstdint>

namespace aloft::cpu {

/// Classes of a tile of softmax_moments(), and positions of a block: as many rows of products as keep a
/// matrix product fast, and both in the second-level cache.
inline constexpr std::int64_t kSoftmaxClasses = 512;
[[nodiscard]] constexpr std::int64_t softmax_positions(std::int64_t terms) {
  return std::max<std::int64_t>(1, 128 / terms);
}

}  // namespace aloft::cpu
