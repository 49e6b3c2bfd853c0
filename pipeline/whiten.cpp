#include "pipeline/whiten.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "pipeline/device_math.hpp"

namespace aloft {
namespace {

constexpr int kGridIntervals = 32;
constexpr int kRefinements = 60;
constexpr double kRefined = 1e-9;

struct Eigen {
  Matrix vectors;
  std::vector<double> values;
};

Eigen ridged(Context& ctx, const Matrix& covariances, std::int32_t lag, double ridge, const char* which) {
  const std::int64_t d = covariances.rows;
  const ConstMatrixView c = covariances.view().item(lag - 1);
  Eigen out{Matrix(ctx.device(), d, d), {}};
  Buffer<double> values(ctx.device(), static_cast<std::size_t>(d));
  ctx.linear().eigh(c, values.data(), out.vectors.view());
  out.values = to_host(values);
  double trace = 0;
  for (const double v : out.values) trace += v;
  for (double& v : out.values) v += ridge * trace / static_cast<double>(d);
  const double top = *std::max_element(out.values.begin(), out.values.end());
  // Rounding leaves exact zeros at about -1e-16·top; without a ridge those cannot be raised to a negative
  // power.
  if (!(top > 0) || *std::min_element(out.values.begin(), out.values.end()) < 1e-13 * top)
    throw InputError(
        fmt::format("lag {}: the {} covariance of the embedding is singular, so it cannot be whitened: raise "
                    "the ridge (now {}) or lower the embedding's dimension",
                    lag, which, ridge));
  return out;
}

}  // namespace

Whitening::Whitening(Context& ctx, const Projections& projections, std::int32_t lag, double ridge)
    : ctx_(ctx) {
  Eigen source = ridged(ctx, projections.source_covariance, lag, ridge, "source");
  Eigen target = ridged(ctx, projections.target_covariance, lag, ridge, "target");
  source_vectors_ = std::move(source.vectors);
  source_values_ = std::move(source.values);
  target_vectors_ = std::move(target.vectors);
  target_values_ = std::move(target.values);
  const std::int64_t d = source_vectors_.rows;
  Matrix half(ctx.device(), d, d);
  rotated_ = Matrix(ctx.device(), d, d);
  const ConstMatrixView r = projections.deviation.view().item(lag - 1);
  ctx.linear().gemm(1, Op::transpose, source_vectors_.view(), Op::none, r, 0, half.view());
  ctx.linear().gemm(1, Op::none, half.view(), Op::none, target_vectors_.view(), 0, rotated_.view());
  ctx.device().synchronize();
}

Matrix Whitening::skew(double gamma) {
  const auto powers = [&](const std::vector<double>& values) {
    std::vector<double> out;
    for (const double v : values) out.push_back(std::pow(v, -gamma));
    return to_device(ctx_.device(), std::span(out));
  };
  const auto rows = powers(source_values_), columns = powers(target_values_);
  Matrix k = copy_of(rotated_);
  ctx_.linear().scale(k.view(), rows.data(), columns.data());
  Matrix half(ctx_.device(), k.rows, k.cols);
  ctx_.linear().gemm(1, Op::none, source_vectors_.view(), Op::none, k.view(), 0, half.view());
  ctx_.linear().gemm(1, Op::none, half.view(), Op::transpose, target_vectors_.view(), 0, k.view());
  return skew_part(ctx_, k.view());
}

double Whitening::participation_ratio(double gamma) {
  const Matrix a = skew(gamma);
  Matrix gram(ctx_.device(), a.rows, a.cols);
  ctx_.linear().gemm(1, Op::transpose, a.view(), Op::none, a.view(), 0, gram.view());
  const auto host = to_host(gram);  // Σσ² = its trace, Σσ⁴ = its squared norm
  double trace = 0, squares = 0;
  for (std::int64_t i = 0; i < a.rows; ++i) trace += host[static_cast<std::size_t>(i * a.rows + i)];
  if (!(trace > 0)) return 0;
  for (const double g : host) squares += (g / trace) * (g / trace);
  return 1 / squares;
}

WhitenedTarget find_gamma(Context& ctx, Whitening& whitening, double target_pr) {
  WhitenedTarget out;
  double before = 0, below = 0, above = 0;
  for (int i = 0; i <= kGridIntervals; ++i) {
    ctx.check_interrupt();
    const double gamma = static_cast<double>(i) / kGridIntervals, pr = whitening.participation_ratio(gamma);
    if (pr > out.max_pr) {
      out.max_pr = pr;
      if (!out.reached) out.gamma = gamma;
    }
    if (!out.reached && pr >= target_pr) {
      out.reached = true;
      out.gamma = above = gamma;
      below = before;
    }
    before = gamma;
  }
  if (!out.reached || out.gamma == 0) return out;
  // PR(below) < target <= PR(above): regula falsi with halved weights (Illinois) keeps the bracket.
  double low = whitening.participation_ratio(below) - target_pr,
         high = whitening.participation_ratio(above) - target_pr;
  int side = 0;
  for (int i = 0; i < kRefinements && high > kRefined * target_pr; ++i) {
    const double gamma = std::clamp((below * high - above * low) / (high - low), below, above);
    const double f = whitening.participation_ratio(gamma) - target_pr;
    out.gamma = gamma;
    if (std::abs(f) <= kRefined * target_pr) return out;
    if (f >= 0) {
      above = gamma;
      high = f;
      if (side == 1) low /= 2;
      side = 1;
    } else {
      below = gamma;
      low = f;
      if (side == -1) high /= 2;
      side = -1;
    }
  }
  out.gamma = above;
  return out;
}

}  // namespace aloft
