#include "kernels/spectral_measures.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <numeric>

#include "host/error.hpp"

namespace aloft {
namespace {

/// Fourth powers of a spectrum must neither overflow nor vanish, so every sum is over σ/σ₁.
double largest(std::span<const double> sigma) {
  return sigma.empty() ? 0.0 : *std::max_element(sigma.begin(), sigma.end());
}

std::vector<double> sorted(std::span<const double> sigma) {
  std::vector<double> out(sigma.begin(), sigma.end());
  std::sort(out.begin(), out.end(), std::greater<>());
  return out;
}

double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

double cosine(std::span<const double> a, std::span<const double> b) {
  const double norms = std::sqrt(dot(a, a)) * std::sqrt(dot(b, b));
  return norms > 0 ? std::clamp(dot(a, b) / norms, -1.0, 1.0) : 0.0;
}

}  // namespace

std::vector<double> paired(std::span<const double> planes, std::int64_t d) {
  expects(static_cast<std::int64_t>(planes.size()) == d / 2, "an antisymmetric d x d matrix has d/2 planes");
  std::vector<double> out;
  out.reserve(static_cast<std::size_t>(d));
  for (const double s : planes) out.insert(out.end(), 2, s);
  out.resize(static_cast<std::size_t>(d), 0.0);
  return out;
}

double participation_ratio(std::span<const double> sigma) {
  const double top = largest(sigma);
  if (!(top > 0)) return 0;
  double second = 0, fourth = 0;
  for (const double s : sigma) {
    const double e = (s / top) * (s / top);
    second += e;
    fourth += e * e;
  }
  return second * second / fourth;
}

double linear_participation_ratio(std::span<const double> sigma) {
  const double top = largest(sigma);
  if (!(top > 0)) return 0;
  double first = 0, second = 0;
  for (const double s : sigma) {
    first += s / top;
    second += (s / top) * (s / top);
  }
  return first * first / second;
}

double effective_rank(std::span<const double> sigma) {
  const double top = largest(sigma);
  if (!(top > 0)) return 0;
  double total = 0;
  for (const double s : sigma) total += s / top;
  double entropy = 0;
  for (const double s : sigma) {
    const double q = s / top / total;
    if (q > 0) entropy -= q * std::log(q);
  }
  return std::exp(entropy);
}

double top_energy(std::span<const double> sigma, std::int64_t k) {
  const auto order = sorted(sigma);
  if (order.empty() || !(order.front() > 0)) return 0;
  double top = 0, total = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const double e = (order[i] / order[0]) * (order[i] / order[0]);
    if (static_cast<std::int64_t>(i) < k) top += e;
    total += e;
  }
  return top / total;
}

SpectrumMeasures measure_spectrum(std::span<const double> sigma) {
  return {participation_ratio(sigma), linear_participation_ratio(sigma), effective_rank(sigma),
          top_energy(sigma, 8), top_energy(sigma, 32)};
}

double spectral_cosine(std::span<const double> a, std::span<const double> b) {
  expects(a.size() == b.size(), "spectra of the same length");
  const auto falls = [](std::span<const double> x) {
    return std::is_sorted(x.begin(), x.end(), std::greater<>());
  };
  if (falls(a) && falls(b)) return cosine(a, b);  // as decompositions leave them: no copies
  return cosine(sorted(a), sorted(b));
}

double matrix_cosine(std::span<const double> x, std::span<const double> y) {
  expects(x.size() == y.size(), "matrices of the same size");
  return cosine(x, y);
}

double subspace_overlap(std::span<const double> a, std::span<const double> b, std::int64_t k,
                        std::int64_t n) {
  const auto elements = static_cast<std::size_t>(k * n);
  expects(a.size() == elements && b.size() == elements, "two bases of k rows of length n");
  if (k == 0) return 0;
  const auto row = [n](std::span<const double> m, std::int64_t i) {
    return m.subspan(static_cast<std::size_t>(i * n), static_cast<std::size_t>(n));
  };
  double sum = 0;
  for (std::int64_t i = 0; i < k; ++i)
    for (std::int64_t j = 0; j < k; ++j) {
      const double c = dot(row(a, i), row(b, j));
      sum += c * c;
    }
  return sum / static_cast<double>(k);
}

double profile_kl(const std::vector<double>& p, const std::vector<double>& q) {
  const auto n = static_cast<std::ptrdiff_t>(std::min(p.size(), q.size()));
  const double p_sum = std::accumulate(p.begin(), p.begin() + n, 0.0);
  const double q_sum = std::accumulate(q.begin(), q.begin() + n, 0.0);
  if (p_sum <= 0 || q_sum <= 0) return std::numeric_limits<double>::quiet_NaN();
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

Asymmetry asymmetry(const TransposeInner& m) {
  if (!(m.norm2 > 0)) return {};
  const double energy =
      std::clamp((m.norm2 - m.inner) / (2 * m.norm2), 0.0, 1.0);  // rounding may step outside
  return {std::sqrt(energy), energy};
}

}  // namespace aloft
