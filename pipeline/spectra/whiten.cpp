#include "pipeline/spectra/whiten.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"

namespace aloft {
namespace {

constexpr int kGridIntervals = 32;
constexpr int kGridBatch = 11;  // of the 33 points at once: enough for a GPU, 88 MB at d = 1024
constexpr int kRefinements = 60;
constexpr double kRefined = 1e-9;

std::vector<std::int32_t> distinct(std::vector<std::int32_t> lags) {
  std::sort(lags.begin(), lags.end());
  lags.erase(std::unique(lags.begin(), lags.end()), lags.end());
  return lags;
}

}  // namespace

Peak whiten_memory(const LinearOps& ops, std::int64_t d, std::vector<std::int32_t> lags) {
  const auto squares = [d](std::int64_t n) { return on_device(matrix_bytes(d, d, n)); };
  const auto items = static_cast<std::int64_t>(distinct(std::move(lags)).size());
  Peak out;
  const Footprint values = on_device(matrix_bytes(d, items + 2 * kGridBatch + 2));
  out.reach(squares(3 * items) + values + ops.eigh_scratch(d, items));  // one side, the other's covariances
  out.reach(squares(3 * items) + squares(3 * kGridBatch) + values);     // K(γ), half way, antisymmetric part
  return out;
}

Whitening::Side Whitening::diagonalised(Context& ctx, const Matrix& covariances,
                                        const std::vector<std::int32_t>& lags, double ridge,
                                        const char* which) {
  const std::int64_t d = covariances.rows, items = static_cast<std::int64_t>(lags.size());
  Matrix wanted(ctx.device(), d, d, items);
  for (std::int64_t i = 0; i < items; ++i)
    copy(ctx.device(), covariances.view().item(at(lags, i) - 1), wanted.view().item(i));
  Side out{Matrix(ctx.device(), d, d, items), {}};
  Buffer<double> values = numbers_on(ctx.device(), items * d);
  ctx.linear().eigh(wanted.view(), values.data(), out.vectors.view());
  out.values = to_host(values);
  for (std::int64_t i = 0; i < items; ++i) {
    const std::span<double> own(HostView(out.values, d).row(i), HostView(out.values, d).row(i + 1));
    double trace = 0;
    for (const double v : own) trace += v;
    for (double& v : own) v += ridge * trace / static_cast<double>(d);
    const double top = *std::max_element(own.begin(), own.end());
    // Rounding leaves exact zeros at about -1e-16·top; without a ridge those cannot be raised to a negative
    // power.
    if (!(top > 0) || *std::min_element(own.begin(), own.end()) < 1e-13 * top)
      throw InputError(fmt::format(
          "lag {}: the {} covariance of the embedding is singular, so it cannot be whitened: raise "
          "the ridge (now {}) or lower the embedding's dimension",
          at(lags, i), which, ridge));
  }
  return out;
}

Whitening::Whitening(Context& ctx, const Projections& projections, const std::vector<std::int32_t>& lags,
                     double ridge)
    : ctx_(ctx), lags_(distinct(lags)) {
  source_ = diagonalised(ctx, projections.source_covariance, lags_, ridge, "source");
  target_ = diagonalised(ctx, projections.target_covariance, lags_, ridge, "target");
  const std::int64_t d = projections.deviation.rows, items = static_cast<std::int64_t>(lags_.size());
  Matrix half(ctx.device(), d, d);
  rotated_ = Matrix(ctx.device(), d, d, items);
  for (std::int64_t i = 0; i < items; ++i) {
    const ConstMatrixView r = projections.deviation.view().item(at(lags_, i) - 1);
    ctx.linear().gemm(1, Op::transpose, source_.vectors.cview().item(i), Op::none, r, 0, half.view());
    ctx.linear().gemm(1, Op::none, half.view(), Op::none, target_.vectors.cview().item(i), 0,
                      rotated_.view().item(i));
  }
}

std::int64_t Whitening::item_of(std::int32_t lag) const {
  const auto found = std::lower_bound(lags_.begin(), lags_.end(), lag);
  expects(found != lags_.end() && *found == lag, "a lag that was asked for");
  return found - lags_.begin();
}

Matrix Whitening::skew(std::int32_t lag, std::span<const double> gammas) {
  const std::int64_t d = rotated_.rows, item = item_of(lag);
  const auto powers = [&](const Side& side) {
    std::vector<double> out;
    for (const double gamma : gammas)
      for (std::int64_t i = item * d; i < (item + 1) * d; ++i)
        out.push_back(std::pow(at(side.values, i), -gamma));
    return to_device(ctx_.device(), std::span(out));
  };
  const auto rows = powers(source_), columns = powers(target_);
  const auto count = static_cast<std::int64_t>(gammas.size());
  Matrix k(ctx_.device(), d, d, count), half(ctx_.device(), d, d, count);
  for (std::int64_t i = 0; i < count; ++i) {
    copy(ctx_.device(), rotated_.view().item(item), k.view().item(i));
    ctx_.linear().scale(k.view().item(i), rows.data() + i * d, columns.data() + i * d);
  }
  ctx_.linear().gemm(1, Op::none, source_.vectors.cview().item(item), Op::none, k.view(), 0, half.view());
  ctx_.linear().gemm(1, Op::none, half.view(), Op::transpose, target_.vectors.cview().item(item), 0,
                     k.view());
  return skew_part(ctx_, k.view());
}

std::vector<double> Whitening::participation_ratios(std::int32_t lag, std::span<const double> gammas) {
  const Matrix a = skew(lag, gammas);
  Matrix gram(ctx_.device(), a.rows, a.cols, a.batch);
  ctx_.linear().gemm(1, Op::transpose, a.view(), Op::none, a.view(), 0, gram.view());
  // Σσ² = ‖a‖², Σσ⁴ = ‖aᵀa‖².
  const auto squares = inner_products(ctx_, a.view(), a.view());
  const auto fourths = inner_products(ctx_, gram.view(), gram.view());
  std::vector<double> out;
  for (std::size_t item = 0; item < gammas.size(); ++item)
    out.push_back(squares[item] > 0 ? squares[item] / fourths[item] * squares[item] : 0);
  return out;
}

double Whitening::participation_ratio(std::int32_t lag, double gamma) {
  return participation_ratios(lag, {&gamma, 1})[0];
}

WhitenedTarget find_gamma(Context& ctx, Whitening& whitening, std::int32_t lag, double target_pr) {
  const auto pr_at = [&](double gamma) { return whitening.participation_ratio(lag, gamma); };
  std::vector<double> grid, ratios;
  for (int i = 0; i <= kGridIntervals; ++i) grid.push_back(static_cast<double>(i) / kGridIntervals);
  for (std::size_t first = 0; first < grid.size(); first += kGridBatch) {
    ctx.check_interrupt();
    const auto some = std::span(grid).subspan(first, std::min<std::size_t>(kGridBatch, grid.size() - first));
    const auto found = whitening.participation_ratios(lag, some);
    ratios.insert(ratios.end(), found.begin(), found.end());
  }
  WhitenedTarget out;
  double before = 0, below = 0, above = 0;
  for (std::size_t i = 0; i < grid.size(); ++i) {
    const double gamma = grid[i], pr = ratios[i];
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
  double low = pr_at(below) - target_pr, high = pr_at(above) - target_pr;
  int side = 0;
  for (int i = 0; i < kRefinements && high > kRefined * target_pr; ++i) {
    const double gamma = std::clamp((below * high - above * low) / (high - low), below, above);
    const double f = pr_at(gamma) - target_pr;
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
