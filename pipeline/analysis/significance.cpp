#include "pipeline/analysis/significance.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "host/error.hpp"

namespace aloft::analysis {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

struct Moments {
  double mean = 0, sd = 0;
};

Moments moments(std::span<const double> x) {
  const auto n = static_cast<double>(x.size());
  Moments out{std::accumulate(x.begin(), x.end(), 0.0) / n, 0};
  for (const double v : x) out.sd += (v - out.mean) * (v - out.mean);
  out.sd = std::sqrt(out.sd / std::max(n - 1, 1.0));
  return out;
}

}  // namespace

Measured::Measured() : Measured(kNone) {}
Measured::Measured(double value_) : value(value_), null(kNone), null_sd(kNone), p(kNone), p_family(kNone) {}

double student_two_sided(double t, std::int64_t degrees) {
  const auto n = static_cast<double>(degrees);
  const double theta = std::atan(std::abs(t) / std::sqrt(n)), c = std::cos(theta), s = std::sin(theta);
  double inside = 0;
  if (degrees % 2 == 1) {
    double term = c, sum = degrees > 1 ? c : 0;
    for (std::int64_t k = 3; k <= degrees - 2; k += 2)
      sum += term *= c * c * static_cast<double>(k - 1) / static_cast<double>(k);
    inside = 2 / std::numbers::pi * (theta + s * sum);
  } else {
    double term = 1, sum = 1;
    for (std::int64_t k = 2; k <= degrees - 2; k += 2)
      sum += term *= c * c * static_cast<double>(k - 1) / static_cast<double>(k);
    inside = s * sum;
  }
  return std::clamp(1 - inside, 0.0, 1.0);
}

Measured against_draws(double value, std::span<const double> draws, bool on_log, std::int64_t family,
                       Side side) {
  Measured out(value);
  if (draws.empty()) return out;
  const Moments plain = moments(draws);
  out.null = plain.mean;
  if (draws.size() < 3) return out;
  out.null_sd = plain.sd;
  if (std::isnan(value)) return out;
  std::vector<double> x(draws.begin(), draws.end());
  double at = value;
  if (on_log) {
    const auto positive = [](double v) { return v > 0; };
    if (!positive(value) || !std::all_of(x.begin(), x.end(), positive)) return out;
    at = std::log(value);
    for (double& v : x) v = std::log(v);
  }
  const Moments m = moments(x);
  if (!(m.sd > 1e-14 * std::abs(m.mean))) return out;
  const auto n = static_cast<double>(x.size());
  out.p = student_two_sided((at - m.mean) / (m.sd * std::sqrt(1 + 1 / n)),
                            static_cast<std::int64_t>(x.size()) - 1);
  if (side == Side::upper) out.p = at > m.mean ? out.p / 2 : 1 - out.p / 2;
  out.p_family = std::min(1.0, out.p * static_cast<double>(std::max<std::int64_t>(family, 1)));
  return out;
}

std::size_t PermutationFamily::add(std::span<const double> values) {
  expects(!values.empty() && (furthest_.empty() || furthest_.size() == values.size()),
          "a family has one number of permutations");
  const std::size_t n = values.size() - 1;
  if (furthest_.empty()) furthest_.assign(n + 1, -std::numeric_limits<double>::infinity());
  Measured cell(values[0]);
  double own = 0;
  if (n > 0) {
    const Moments null = moments(values.subspan(1)), all = moments(values);
    cell.null = null.mean;
    cell.null_sd = null.sd;
    // What no permutation changes (the identity's trace, say) says nothing.
    const bool varies = all.sd > 1e-12 * std::max(1e-300, std::abs(all.mean));
    std::size_t as_far = 0;
    for (std::size_t i = 0; i <= n; ++i) {
      double z = varies ? (values[i] - all.mean) / all.sd : 0;
      if (side_ == Side::both) z = std::abs(z);
      if (side_ == Side::lower) z = -z;
      if (i == 0) own = z;
      // equal but for rounding counts as equal
      if (i > 0 && z >= own - 1e-9 * std::abs(own)) ++as_far;
      furthest_[i] = std::max(furthest_[i], z);
    }
    cell.p = static_cast<double>(1 + as_far) / static_cast<double>(1 + n);
  }
  cells_.push_back(cell);
  own_.push_back(own);
  return cells_.size() - 1;
}

std::size_t PermutationFamily::add_normal(double value, double mean, double sd) {
  Measured cell(value);
  cell.null = mean;
  cell.null_sd = sd;
  const double z = sd > 0 ? (value - mean) / sd : 0;
  cell.p = side_ == Side::both ? std::erfc(std::abs(z) / std::numbers::sqrt2)
                               : 0.5 * std::erfc(z / std::numbers::sqrt2);
  cells_.push_back(cell);
  own_.push_back(z);
  ++normal_cells_;
  return cells_.size() - 1;
}

std::vector<Measured> PermutationFamily::settle() const {
  std::vector<Measured> out = cells_;
  if (normal_cells_ > 0)
    for (Measured& cell : out) cell.p_family = std::min(1.0, cell.p * static_cast<double>(normal_cells_));
  if (furthest_.size() < 2) return out;
  for (std::size_t c = 0; c < out.size(); ++c) {
    const auto as_far = std::count_if(furthest_.begin() + 1, furthest_.end(),
                                      [&](double z) { return z >= own_[c] - 1e-9 * std::abs(own_[c]); });
    out[c].p_family = static_cast<double>(1 + as_far) / static_cast<double>(furthest_.size());
  }
  return out;
}

}  // namespace aloft::analysis
