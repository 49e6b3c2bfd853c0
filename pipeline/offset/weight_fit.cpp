#include "pipeline/offset/weight_fit.hpp"

#include <algorithm>
#include <cmath>

#include "host/error.hpp"
#include "pipeline/base/host_matrix.hpp"

namespace aloft::offset {
namespace {

constexpr std::int64_t kBatch = 256;  // rows of features that are held at a time
constexpr int kIterations = 12;
constexpr double kDamping = 1e-6;    // of the Hessian's trace: terms may be collinear
constexpr double kConverged = 1e-7;  // nats: far below what a slice can tell apart

struct Moments {
  double loss = 0;
  std::vector<double> gradient, hessian;  ///< of the mean log-likelihood: [terms], −[terms, terms]
};

Moments moments_at(const std::vector<double>& base, const std::vector<std::uint32_t>& next,
                   const Evidence& evidence, const std::vector<double>& weights) {
  const auto vocab = static_cast<std::int64_t>(base.size()), n = static_cast<std::int64_t>(next.size());
  const std::size_t terms = weights.size();
  Moments out{0, std::vector<double>(terms), std::vector<double>(terms * terms)};
  std::vector<double> features, logits(base.size()), mean(terms);
  const std::int64_t batch = positions_at_once(terms);
  for (std::int64_t first = 0; first < n; first += batch) {
    const std::int64_t count = std::min(batch, n - first);
    evidence(first, count, features);
    for (std::int64_t k = 0; k < count; ++k) {
      const double* f = features.data() + k * static_cast<std::int64_t>(terms) * vocab;
      logits = base;
      for (std::size_t t = 0; t < terms; ++t)
        for (std::int64_t j = 0; j < vocab; ++j) logits[j] += weights[t] * f[t * base.size() + j];
      const double top = *std::max_element(logits.begin(), logits.end());
      const std::uint32_t hit = at(next, first + k);
      const double hit_logit = logits[hit];
      double sum = 0;
      for (double& x : logits) sum += x = std::exp(x - top);
      out.loss += top + std::log(sum) - hit_logit;
      for (std::size_t t = 0; t < terms; ++t) {
        double m = 0;
        for (std::int64_t j = 0; j < vocab; ++j) m += logits[j] * f[t * base.size() + j];
        mean[t] = m / sum;
        out.gradient[t] += f[t * base.size() + hit] - mean[t];
      }
      for (std::size_t t = 0; t < terms; ++t)
        for (std::size_t u = 0; u <= t; ++u) {
          double m = 0;
          for (std::int64_t j = 0; j < vocab; ++j)
            m += logits[j] * f[t * base.size() + j] * f[u * base.size() + j];
          out.hessian[t * terms + u] += m / sum - mean[t] * mean[u];
        }
    }
  }
  const double scale = 1 / static_cast<double>(n);
  out.loss *= scale;
  for (double& x : out.gradient) x *= scale;
  for (std::size_t t = 0; t < terms; ++t)
    for (std::size_t u = 0; u <= t; ++u) out.hessian[u * terms + t] = out.hessian[t * terms + u] *= scale;
  return out;
}

/// Solves the small positive definite system by Cholesky's method, in place.
std::vector<double> solve(std::vector<double> h, std::vector<double> g) {
  const std::size_t n = g.size();
  double trace = 0;
  for (std::size_t i = 0; i < n; ++i) trace += h[i * n + i];
  for (std::size_t i = 0; i < n; ++i) h[i * n + i] += kDamping * trace / static_cast<double>(n) + 1e-300;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j <= i; ++j) {
      double x = h[i * n + j];
      for (std::size_t k = 0; k < j; ++k) x -= h[i * n + k] * h[j * n + k];
      h[i * n + j] = i == j ? std::sqrt(std::max(x, 1e-300)) : x / h[j * n + j];
    }
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < i; ++k) g[i] -= h[i * n + k] * g[k];
    g[i] /= h[i * n + i];
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) g[i] -= h[k * n + i] * g[k];
    g[i] /= h[i * n + i];
  }
  return g;
}

}  // namespace

std::int64_t positions_at_once(std::size_t terms) {
  return std::max<std::int64_t>(1, kBatch / static_cast<std::int64_t>(terms));
}

WeightFit fit_weights(const std::vector<double>& base, const std::vector<std::uint32_t>& next,
                      const Evidence& evidence, std::vector<double> start) {
  expects(!next.empty(), "weights are fitted on at least one position");
  WeightFit best{std::move(start), 0};
  Moments at = moments_at(base, next, evidence, best.weights);
  best.loss = at.loss;
  for (int i = 0; i < kIterations; ++i) {
    const std::vector<double> step = solve(at.hessian, at.gradient);
    double length = 1;
    for (; length > 1e-3; length /= 2) {  // a full step may overshoot where the softmax saturates
      std::vector<double> weights = best.weights;
      for (std::size_t t = 0; t < weights.size(); ++t) weights[t] += length * step[t];
      Moments trial = moments_at(base, next, evidence, weights);
      if (!(trial.loss < best.loss)) continue;
      const double gained = best.loss - trial.loss;
      best = {std::move(weights), trial.loss};
      at = std::move(trial);
      if (gained < kConverged) return best;
      break;
    }
    if (length <= 1e-3) break;
  }
  return best;
}

double loss_at(const std::vector<double>& base, const std::vector<std::uint32_t>& next,
               const Evidence& evidence, const std::vector<double>& weights) {
  return moments_at(base, next, evidence, weights).loss;
}

std::int64_t affordable_positions(std::int64_t vocab) {
  return std::clamp<std::int64_t>((std::int64_t{1} << 24) / std::max<std::int64_t>(vocab, 1), 256, 4096);
}

}  // namespace aloft::offset
