#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/softmax.hpp"

namespace aloft::cpu {

/// Classes of a tile of softmax_moments(), and positions of a block: as many rows of products as keep a
/// matrix product fast, and still enough blocks for many workers.
inline constexpr std::int64_t kSoftmaxClasses = 512;
[[nodiscard]] constexpr std::int64_t softmax_positions(std::int64_t terms) {
  return std::max<std::int64_t>(1, 1024 / terms);
}
/// Positions that are under way at a time, and classes of a segment: work for many processors where positions
/// are few, in at most 16 segments, so that what is known of them takes little memory.
inline constexpr std::int64_t kSoftmaxPositions = 2048;
[[nodiscard]] constexpr std::int64_t softmax_segment(std::int64_t classes) {
  constexpr std::int64_t least = 4 * kSoftmaxClasses, most = 16;
  const std::int64_t even = (classes + most - 1) / most;
  return std::max(least, (even + kSoftmaxClasses - 1) / kSoftmaxClasses * kSoftmaxClasses);
}
/// Numbers that are known of a model at a position.
[[nodiscard]] constexpr std::int64_t softmax_state(std::int64_t terms) {
  return 2 + terms + softmax_moment_count(terms);
}

}  // namespace aloft::cpu
