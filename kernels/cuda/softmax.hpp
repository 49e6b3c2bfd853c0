#pragma once
#include <algorithm>
#include <cstdint>

namespace aloft::cuda {

/// What softmax_moments() takes at a time: products of so many positions with so many classes, for each term.
struct SoftmaxTile {
  std::int64_t positions = 0;
  std::int64_t classes = 0;
};

/// Tall and wide enough for a matrix product at full speed and a block of threads a position; fewer positions
/// where many terms would make more than 256 MiB of them.
[[nodiscard]] constexpr SoftmaxTile softmax_tile(std::int64_t positions, std::int64_t classes,
                                                 std::int64_t terms) {
  constexpr std::int64_t most_positions = 1024, most_classes = 8192, most_products = std::int64_t{1} << 26;
  const std::int64_t wide = std::min(classes, most_classes);
  const std::int64_t fitting =
      std::max<std::int64_t>(1, most_products / std::max<std::int64_t>(1, terms * wide));
  return {std::min({positions, most_positions, fitting}), wide};
}

/// Doubles that are kept of a position and model from one tile of classes to the next: the largest logit, the
/// logit of what came next, its features, and the sums.
[[nodiscard]] constexpr std::int64_t softmax_state(std::int64_t terms, std::int64_t moments) {
  return 2 + terms + moments;
}

}  // namespace aloft::cuda
