#include "pipeline/offset/position_offsets.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "host/error.hpp"
#include "kernels/matrix_game.hpp"

namespace aloft {
namespace {

/// Longer contexts are no harder: beyond this the distances repeat what nearer ones ask, and the programme
/// grows.
constexpr std::int64_t kLongestContext = 8192;
constexpr std::int64_t kGrid = 96;  // candidate frequencies of a position table
constexpr double kTurns = 0.5;      // radians within the context; slower frequencies tell no distances apart

std::vector<double> candidate_frequencies(std::int64_t candidates) {
  std::vector<double> grid;
  for (std::int64_t i = 1; i <= candidates; ++i)
    grid.push_back(std::numbers::pi * (static_cast<double>(i) - 0.5) / static_cast<double>(candidates));
  return grid;
}

/// Backward elimination: a frequency that the best pattern hardly uses is the one to do without. Offset 0
/// sees every |distance| that any offset sees, and the cosine is even.
void reduce_to(std::vector<double>& grid, std::int64_t count, std::int64_t context) {
  while (static_cast<std::int64_t>(grid.size()) > count) {
    const OffsetPattern pattern = offset_pattern(grid, 0, context);
    const auto least = std::min_element(pattern.weights.begin(), pattern.weights.end());
    grid.erase(grid.begin() + (least - pattern.weights.begin()));
  }
}

}  // namespace

OffsetPattern offset_pattern(const std::vector<double>& frequencies, std::int64_t offset,
                             std::int64_t context) {
  expects(!frequencies.empty() && offset >= 0 && offset < context, "an offset within the context");
  context = std::min(context, std::max(kLongestContext, offset + 1));
  const auto rows = static_cast<std::int64_t>(frequencies.size());
  if (context == 1) return {std::vector<double>(frequencies.size(), 1.0 / static_cast<double>(rows)), 2};
  // What a frequency loses at a distance: the head must lose as much as possible wherever it loses least.
  std::vector<double> loss;
  for (const double frequency : frequencies)
    for (std::int64_t distance = 0; distance < context; ++distance)
      if (distance != offset)
        loss.push_back(1 - std::cos(static_cast<double>(distance - offset) * frequency));
  const GameSolution best = solve_matrix_game(loss, rows, context - 1);
  return {best.weights, best.value};
}

OffsetPattern recency_pattern(const std::vector<double>& frequencies, double range, std::int64_t context) {
  expects(!frequencies.empty() && range >= 1 && context >= 2, "frequencies, a range and a context");
  OffsetPattern out{std::vector<double>(frequencies.size(), 0.0), 0};
  double used = 0;
  for (std::size_t i = 0; i < frequencies.size(); ++i)
    if (frequencies[i] * range <= 1 && frequencies[i] * static_cast<double>(context) >= kTurns) {
      out.weights[i] = 1;
      ++used;
    }
  if (used == 0) {
    const auto nearest = std::min_element(frequencies.begin(), frequencies.end(), [&](double a, double b) {
      return std::abs(std::log(a * range)) < std::abs(std::log(b * range));
    });
    out.weights[static_cast<std::size_t>(nearest - frequencies.begin())] = used = 1;
  }
  for (double& weight : out.weights) weight /= used;
  const std::int64_t middle = context / 2;
  double far = 0;
  for (std::int64_t distance = middle; distance < context; ++distance)
    for (std::size_t i = 0; i < frequencies.size(); ++i)
      far += out.weights[i] * std::cos(static_cast<double>(distance) * frequencies[i]);
  out.margin = 1 - far / static_cast<double>(context - middle);
  return out;
}

std::vector<double> table_frequencies(std::int64_t count, std::int64_t context) {
  expects(count >= 1, "a position table needs a frequency");
  std::vector<double> grid = candidate_frequencies(std::max(kGrid, 2 * count));
  reduce_to(grid, count, context);
  return grid;
}

std::vector<std::vector<double>> table_frequencies(std::int64_t fewest, std::int64_t most,
                                                   std::int64_t context) {
  expects(fewest >= 1 && fewest <= most && 2 * most <= kGrid, "counts that share a grid");
  std::vector<std::vector<double>> out;
  std::vector<double> grid = candidate_frequencies(kGrid);
  for (std::int64_t count = most; count >= fewest; --count) {
    reduce_to(grid, count, context);
    out.insert(out.begin(), grid);
  }
  return out;
}

double mass_on_offset(const OffsetPattern& pattern, const std::vector<double>& frequencies,
                      std::int64_t offset, std::int64_t context, double sharpness) {
  double sum = 0;
  for (std::int64_t distance = 0; distance < context; ++distance) {
    double score = 0;
    for (std::size_t i = 0; i < frequencies.size(); ++i)
      score += pattern.weights[i] * std::cos(static_cast<double>(distance - offset) * frequencies[i]);
    sum += std::exp(sharpness * (score - 1));
  }
  return 1 / sum;
}

}  // namespace aloft
