#include "pipeline/recipes/spectral_profile.hpp"

#include <algorithm>
#include <cmath>

#include "host/error.hpp"
#include "kernels/spectral_measures.hpp"

namespace aloft::recipes {
namespace {

constexpr int kBisections = 45;                       // to about 1e-12 of the ranges below
constexpr double kSmallestC = 1e-6, kLargestC = 1e9;  // steeper and flatter than any target needs
constexpr double kSmallestA = 0.51, kLargestA = 1e4;  // heavy tail; as good as exponential

double midpoint_in_log(double low, double high) { return std::sqrt(low * high); }

PowerProfile with_top_energy(double a, const ProfileTarget& target, std::int64_t n) {
  double low = kSmallestC, high = kLargestC;
  for (int i = 0; i < kBisections; ++i) {
    const double c = midpoint_in_log(low, high);
    (top_energy(PowerProfile{c, a}.sigma(n), target.top) > target.top_energy ? low : high) = c;
  }
  return {midpoint_in_log(low, high), a};
}

}  // namespace

std::vector<double> PowerProfile::sigma(std::int64_t n) const {
  std::vector<double> out(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) out[i] = std::exp(-a * std::log1p(static_cast<double>(i) / c));
  return out;
}

PowerProfile fit_profile(const ProfileTarget& target, std::int64_t n) {
  expects(n > 0 && target.top > 0 && target.top_energy > 0 && target.top_energy < 1,
          "a target a profile can have");
  double low = kSmallestA, high = kLargestA;
  for (int i = 0; i < kBisections; ++i) {
    const double a = midpoint_in_log(low, high);
    (effective_rank(with_top_energy(a, target, n).sigma(n)) > target.effective_rank ? low : high) = a;
  }
  return with_top_energy(midpoint_in_log(low, high), target, n);
}

}  // namespace aloft::recipes
