#include "pipeline/offset/weight_fit.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <span>

#include "host/error.hpp"
#include "pipeline/base/host_matrix.hpp"

namespace aloft::offset {
namespace {

constexpr int kPasses = 60;        // a few do, but where steps overshoot by far
constexpr double kDamping = 1e-6;  // of the Hessian's trace: terms may be collinear
// Products made between two looks at Ctrl-C; a block of positions is what the CPU gives to a worker.
constexpr std::int64_t kMostProducts = std::int64_t{1} << 36, kFewestPositions = 256;

struct Moments {
  double loss = 0;
  std::vector<double> gradient, hessian;  ///< of the mean log-likelihood: [terms], −[terms, terms]
  std::vector<double> losses;             ///< [positions]
};

/// Positions of one call.
std::int64_t at_once(std::int64_t width, std::int64_t classes, std::int64_t terms) {
  const std::int64_t n = kMostProducts / std::max<std::int64_t>(1, width * classes * terms);
  return std::max(kFewestPositions, n / kFewestPositions * kFewestPositions);
}

/// Sums what softmax_moments() says of positions, one after the other.
void add_positions(const std::vector<double>& from, std::int64_t terms, std::int64_t positions,
                   std::vector<Moments>& out) {
  const HostView rows(from, softmax_moment_count(terms));
  for (std::size_t m = 0; m < out.size(); ++m)
    for (std::int64_t k = 0; k < positions; ++k) {
      const double* x = rows.row(static_cast<std::int64_t>(m) * positions + k);
      out[m].losses.push_back(*x);
      out[m].loss += *x++;
      for (double& g : out[m].gradient) g += *x++;
      const HostView h(out[m].hessian, terms);
      for (std::int64_t t = 0; t < terms; ++t)
        for (std::int64_t u = 0; u <= t; ++u) h(t, u) += *x++;
    }
}

/// What all passes over one evidence share.
class Passes {
 public:
  Passes(Context& ctx, const SoftmaxEvidence& evidence, const ModelTerms& terms, std::int64_t models)
      : ctx_(ctx),
        evidence_(evidence),
        count_(models),
        base_(to_device(ctx.device(), std::span(terms.base))),
        scale_(to_device(ctx.device(), std::span(terms.scale))),
        shift_(to_device(ctx.device(), std::span(terms.shift))) {
    expects(evidence.contexts.rows > 0, "weights are fitted on at least one position");
  }

  [[nodiscard]] std::vector<Moments> at(const std::vector<std::vector<double>>& weights) {
    const std::int64_t n = evidence_.contexts.rows, terms = evidence_.terms();
    std::vector<double> flat;
    for (const auto& w : weights) flat.insert(flat.end(), w.begin(), w.end());
    const Buffer<double> on_device = to_device(ctx_.device(), std::span(flat));
    const SoftmaxModels models{count_, base_.data(), scale_.size() > 0 ? scale_.data() : nullptr,
                               shift_.size() > 0 ? shift_.data() : nullptr, on_device.data()};
    std::vector<Moments> out(weights.size(),
                             {0, host_vector(terms), host_matrix(terms, terms), std::vector<double>{}});
    const std::int64_t batch = at_once(evidence_.contexts.cols, evidence_.classes.rows, terms);
    for (std::int64_t first = 0; first < n; first += batch) {
      ctx_.check_interrupt();
      const std::int64_t positions = std::min(batch, n - first);
      Buffer<double> moments = numbers_on(ctx_.device(), count_ * positions * softmax_moment_count(terms));
      ctx_.linear().softmax_moments(
          {evidence_.contexts.row_block(first, positions), evidence_.classes, evidence_.next + first}, models,
          moments.data());
      add_positions(to_host(moments), terms, positions, out);
    }
    const double scale = 1 / static_cast<double>(n);
    for (Moments& m : out) {
      m.loss *= scale;
      for (double& x : m.gradient) x *= scale;
      const HostView h(m.hessian, terms);
      for (std::int64_t t = 0; t < terms; ++t)
        for (std::int64_t u = 0; u <= t; ++u) h(u, t) = h(t, u) *= scale;
    }
    return out;
  }

 private:
  Context& ctx_;
  const SoftmaxEvidence& evidence_;
  std::int64_t count_;
  Buffer<float> base_, scale_, shift_;
};

/// Solves the small positive definite system by Cholesky's method.
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

/// One model on its way to the best weights.
struct Climber {
  std::vector<double> best, step;
  Moments at;
  double length = 1;
  bool done = false;

  /// Plans the next step; a short one is taken at once, and ends it.
  void plan(double tolerance) {
    step = solve(at.hessian, at.gradient);
    length = 1;
    double gain = 0;  // of the quadratic that value, slope and curvature make here
    for (std::size_t t = 0; t < step.size(); ++t) gain += at.gradient[t] * step[t] / 2;
    if (!(gain < tolerance)) return;
    best = trial();
    at.loss -= std::max(gain, 0.0);
    done = true;
  }
  [[nodiscard]] std::vector<double> trial() const {
    std::vector<double> out = best;
    if (!done)
      for (std::size_t t = 0; t < out.size(); ++t) out[t] += length * step[t];
    return out;
  }
  /// A full step may overshoot where the softmax saturates.
  void take(Moments moments, double tolerance) {
    if (done) return;
    if (!(moments.loss < at.loss)) {
      length /= 2;
      done = length <= 1e-3;
      return;
    }
    best = trial();
    at = std::move(moments);
    plan(tolerance);
  }
};

}  // namespace

std::vector<WeightFit> losses_at(Context& ctx, const SoftmaxEvidence& evidence, const ModelTerms& terms,
                                 std::vector<std::vector<double>> weights) {
  std::vector<Moments> at =
      Passes(ctx, evidence, terms, static_cast<std::int64_t>(weights.size())).at(weights);
  std::vector<WeightFit> out;
  for (std::size_t m = 0; m < at.size(); ++m)
    out.push_back({std::move(weights[m]), at[m].loss, std::move(at[m].losses)});
  return out;
}

std::vector<WeightFit> fit_weights(Context& ctx, const SoftmaxEvidence& evidence, const ModelTerms& terms,
                                   std::vector<std::vector<double>> start, double tolerance) {
  Passes passes(ctx, evidence, terms, static_cast<std::int64_t>(start.size()));
  std::vector<Moments> at = passes.at(start);
  std::vector<Climber> climbers;
  for (std::size_t m = 0; m < start.size(); ++m) {
    climbers.push_back({std::move(start[m]), {}, std::move(at[m])});
    climbers.back().plan(tolerance);
  }
  const auto all_done = [&] {
    return std::all_of(climbers.begin(), climbers.end(), [](const Climber& c) { return c.done; });
  };
  for (int i = 0; i < kPasses && !all_done(); ++i) {
    std::vector<std::vector<double>> trials;
    for (const Climber& c : climbers) trials.push_back(c.trial());
    at = passes.at(trials);
    for (std::size_t m = 0; m < climbers.size(); ++m) climbers[m].take(std::move(at[m]), tolerance);
  }
  std::vector<WeightFit> out;
  for (Climber& c : climbers) out.push_back({std::move(c.best), c.at.loss, std::move(c.at.losses)});
  return out;
}

Footprint weight_fit_memory(const LinearOps& ops, std::int64_t positions, std::int64_t width,
                            std::int64_t classes, std::int64_t terms, std::int64_t models) {
  const std::int64_t batch = std::min(positions, at_once(width, classes, terms));
  const std::uint64_t moments = matrix_bytes(models * batch, softmax_moment_count(terms));
  return on_device(float_matrix_bytes(classes, 2 * models + 1) + matrix_bytes(models, terms) + moments) +
         on_host(moments + 2 * matrix_bytes(models, positions) +
                 float_matrix_bytes(classes, 2 * models + 1)) +
         ops.softmax_scratch(batch, classes, terms, models);
}

double standard_error(const std::vector<double>& x, const std::vector<std::int64_t>& block) {
  expects(x.size() == block.size() && !x.empty(), "a block for every number");
  double mean = 0;
  for (const double v : x) mean += v / static_cast<double>(x.size());
  std::map<std::int64_t, double> sums;
  for (std::size_t k = 0; k < x.size(); ++k) sums[block[k]] += x[k] - mean;
  double square = 0;
  for (const auto& [id, sum] : sums) square += sum * sum;
  return std::sqrt(square) / static_cast<double>(x.size());
}

}  // namespace aloft::offset
