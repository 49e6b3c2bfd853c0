#include "pipeline/recipes/spectral_profile.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

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

double profile_kl(const std::vector<double>& p, const std::vector<double>& q) {
  const auto n = static_cast<std::ptrdiff_t>(std::min(p.size(), q.size()));
  const double p_sum = std::accumulate(p.begin(), p.begin() + n, 0.0);
  const double q_sum = std::accumulate(q.begin(), q.begin() + n, 0.0);
  double kl = 0;
  for (std::ptrdiff_t i = 0; i < n; ++i)
    if (p[i] > 0) kl += p[i] / p_sum * std::log((p[i] / p_sum) / (q[i] / q_sum));
  return kl;
}

std::vector<double> marchenko_pastur(std::int64_t rows, std::int64_t cols) {
  const std::int64_t n = std::min(rows, cols);
  const double ratio = static_cast<double>(n) / static_cast<double>(std::max(rows, cols));
  // With λ = σ² = 1 + y − 2√y cos φ the density becomes smooth: dF = 2 sin²φ / (π λ) dφ.
  const auto square = [ratio](double phi) { return 1 + ratio - 2 * std::sqrt(ratio) * std::cos(phi); };
  const std::int64_t cells = std::max<std::int64_t>(8192, 8 * n);
  const double step = std::numbers::pi / static_cast<double>(cells);
  std::vector<double> sigma(static_cast<std::size_t>(n));
  double below = 0;
  std::int64_t next = 0;
  for (std::int64_t cell = 0; cell < cells && next < n; ++cell) {
    const double phi = (static_cast<double>(cell) + 0.5) * step;
    const double mass = 2 * std::sin(phi) * std::sin(phi) / (std::numbers::pi * square(phi)) * step;
    for (; next < n; ++next) {
      const double quantile = (static_cast<double>(next) + 0.5) / static_cast<double>(n);
      if (quantile > below + mass) break;
      const double inside = (quantile - below) / mass;
      sigma[n - 1 - next] = std::sqrt(square((static_cast<double>(cell) + inside) * step));
    }
    below += mass;
  }
  for (; next < n; ++next)
    sigma[n - 1 - next] = std::sqrt(square(std::numbers::pi));  // rounding of the total mass
  return sigma;
}

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
