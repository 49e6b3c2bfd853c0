#include "kernels/rank_expansion.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "host/error.hpp"
#include "kernels/spectral_measures.hpp"

namespace aloft {
namespace {

constexpr double kZeroMode = 1e-12;  // relative to σ₁: what LAPACK leaves of an exact zero
constexpr double kSame = 1e-12;      // relative distance at which a target counts as met
constexpr int kBisections = 200;     // ends at the last bit of the parameter, whatever the bracket

/// σ/σ₁ with zero modes made exact, and what is needed to judge a target.
struct Unit {
  std::vector<double> sigma;
  double norm = 0;      // ‖σ‖ of the input
  double rank = 0;      // × multiplicity
  double sharpest = 0;  // × multiplicity: modes equal to σ₁
  double multiplicity = 1;

  Unit(std::span<const double> input, int copies) : multiplicity(copies) {
    const double top = input.empty() ? 0.0 : *std::max_element(input.begin(), input.end());
    double squares = 0;
    for (const double s : input) {
      expects(s >= 0 && std::isfinite(s), "singular values are finite and not negative");
      const double unit = top > 0 && s > kZeroMode * top ? s / top : 0.0;
      sigma.push_back(unit);
      rank += unit > 0 ? multiplicity : 0;
      sharpest += unit == 1 ? multiplicity : 0;
      squares += unit * unit;
    }
    norm = top * std::sqrt(squares);
  }

  [[nodiscard]] double pr(std::span<const double> s) const { return multiplicity * participation_ratio(s); }

  void check(double target) const {
    if (rank == 0) throw UsageError("the spectrum is zero: there is nothing to expand");
    if (!std::isfinite(target) || target > rank * (1 + kSame))
      throw UsageError(
          fmt::format("a participation ratio of {} is above the spectrum's rank, {}: ask for at most that",
                      target, rank));
    if (target < sharpest * (1 - kSame))
      throw UsageError(
          fmt::format("a participation ratio of {} cannot be reached: the least this spectrum allows is {}{}",
                      target, sharpest, multiplicity == 2 ? " (its singular values come in pairs)" : ""));
  }

  [[nodiscard]] std::vector<double> flat() const {
    std::vector<double> out(sigma);
    for (double& s : out) s = s > 0 ? 1 : 0;
    return out;
  }

  /// Scaled to the norm of the input.
  [[nodiscard]] std::vector<double> scaled(std::vector<double> s) const {
    double squares = 0;
    for (const double x : s) squares += x * x;
    for (double& x : s) x *= norm / std::sqrt(squares);
    return s;
  }
};

std::vector<double> power(const Unit& unit, double alpha) {
  std::vector<double> out(unit.sigma);
  for (double& s : out)
    if (s > 0) s = std::exp(alpha * std::log(s));
  return out;
}

/// The parameter in [low, high] where a falling function meets `wanted`.
template <class F>
double bisect_falling(double low, double high, double wanted, F value) {
  for (int i = 0; i < kBisections; ++i) {
    const double middle = low + (high - low) / 2;
    (value(middle) > wanted ? low : high) = middle;
  }
  return low + (high - low) / 2;
}

/// The positive root of s³ + a s = sigma, sigma > 0. The function is convex there, so Newton's steps from a
/// point on its far side fall monotonically; they end where rounding stops the fall.
double positive_root(double sigma, double a) {
  const double cube_root = std::cbrt(sigma);
  double s = a > 0 ? std::min(sigma / a, cube_root) : std::sqrt(-a) + cube_root;
  for (int i = 0; i < 100; ++i) {
    const double next = s - (s * (s * s + a) - sigma) / (3 * s * s + a);
    if (!(next < s)) break;
    s = next;
  }
  return s;
}

std::vector<double> stationary(const Unit& unit, double a) {
  std::vector<double> out(unit.sigma);
  for (double& s : out)
    if (s > 0) s = positive_root(s, a);
  return out;
}

}  // namespace

ExpandedSpectrum temper(std::span<const double> sigma, double target_pr, int multiplicity) {
  const Unit unit(sigma, multiplicity);
  unit.check(target_pr);
  if (std::abs(target_pr - unit.pr(unit.sigma)) <= kSame * target_pr)
    return {unit.scaled(unit.sigma), 1, true};
  if (target_pr >= unit.rank * (1 - kSame)) return {unit.scaled(unit.flat()), 0, true};
  // ln α: from indistinguishable from flat to beyond any distinguishable σ₂ < σ₁.
  const double log_alpha = bisect_falling(std::log(1e-16), std::log(1e18), target_pr,
                                          [&](double x) { return unit.pr(power(unit, std::exp(x))); });
  const double alpha = std::exp(log_alpha);
  return {unit.scaled(power(unit, alpha)), alpha, true};
}

ExpandedSpectrum pareto(std::span<const double> sigma, double target_pr, int multiplicity) {
  const Unit unit(sigma, multiplicity);
  unit.check(target_pr);
  const double now = unit.pr(unit.sigma);
  if (std::abs(target_pr - now) <= kSame * target_pr) return {unit.scaled(unit.sigma), 0, false};
  if (target_pr < now) return temper(sigma, target_pr, multiplicity);
  if (target_pr >= unit.rank * (1 - kSame)) return {unit.scaled(unit.flat()), -0.0, false};
  const auto pr_at = [&](double a) { return unit.pr(stationary(unit, a)); };
  // ln|a| over both branches: beyond these the roots equal the raw spectrum, its cube root or the flat one to
  // rounding.
  const double smallest = std::log(1e-30), largest = std::log(1e12);
  const double at_zero = pr_at(0);
  double a = 0;
  if (target_pr < at_zero)
    a = std::exp(bisect_falling(smallest, largest, target_pr, [&](double x) { return pr_at(std::exp(x)); }));
  else if (target_pr > at_zero)
    a = -std::exp(
        -bisect_falling(-largest, -smallest, target_pr, [&](double x) { return pr_at(-std::exp(-x)); }));
  const double t = a == 0 ? std::numeric_limits<double>::max() : 1 / (a * a * a);
  return {unit.scaled(stationary(unit, a)), t, false};
}

std::vector<FrontierPoint> frontier(std::span<const double> sigma, std::span<const double> targets,
                                    int multiplicity) {
  const Unit unit(sigma, multiplicity);
  std::vector<FrontierPoint> out;
  for (const double target : targets) {
    if (target > unit.rank || target < unit.sharpest || unit.rank == 0) continue;
    out.push_back({target, spectral_cosine(sigma, pareto(sigma, target, multiplicity).sigma),
                   spectral_cosine(sigma, temper(sigma, target, multiplicity).sigma)});
  }
  return out;
}

}  // namespace aloft
