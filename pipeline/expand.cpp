#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "kernels/rank_expansion.hpp"
#include "kernels/spectral_measures.hpp"
#include "pipeline/device_math.hpp"
#include "pipeline/stack.hpp"
#include "pipeline/stages.hpp"
#include "pipeline/whiten.hpp"

namespace aloft {
namespace {

constexpr std::uint64_t kHaarStream = 0x6861'6172'0000'0000ULL;  // "haar", + the layer
constexpr int kPairs = 2;                                        // singular values a plane stands for

/// One item of a batch of planes, copied.
SkewPlanes item_of(Context& ctx, const SkewPlanes& all, std::int64_t item) {
  const std::int64_t m = all.left.rows, d = all.left.cols;
  SkewPlanes out{{all.sigma.begin() + item * m, all.sigma.begin() + (item + 1) * m},
                 Matrix(ctx.device(), m, d),
                 Matrix(ctx.device(), m, d)};
  ctx.device().copy(out.left.data.data(), all.left.view().item(item).data,
                    out.left.data.size() * sizeof(double));
  ctx.device().copy(out.right.data.data(), all.right.view().item(item).data,
                    out.right.data.size() * sizeof(double));
  return out;
}

/// The same spectrum on planes drawn from the Haar measure.
void randomise_directions(Context& ctx, SkewPlanes& planes, std::uint64_t seed, std::int64_t layer) {
  const std::int64_t m = planes.left.rows, d = planes.left.cols;
  Matrix y(ctx.device(), d, 2 * m);
  ctx.linear().fill_normal(y.view(), seed, kHaarStream + static_cast<std::uint64_t>(layer), 1);
  ctx.linear().orthonormalize(y.view());  // diag(R) >= 0 makes the distribution exactly Haar (Mezzadri, 2007)
  const Matrix rows = transposed(ctx, y.view());
  const std::size_t bytes = planes.left.data.size() * sizeof(double);
  ctx.device().copy(planes.left.data.data(), rows.data.data(), bytes);
  ctx.device().copy(planes.right.data.data(), rows.data.data() + m * d, bytes);
  ctx.device().synchronize();
}

/// Rows that span the planes 0..k/2.
std::vector<double> top_directions(const SkewPlanes& planes, std::int64_t k) {
  const auto left = to_host(planes.left), right = to_host(planes.right);
  const auto end = static_cast<std::ptrdiff_t>(k / 2 * planes.left.cols);
  std::vector<double> out(left.begin(), left.begin() + end);
  out.insert(out.end(), right.begin(), right.begin() + end);
  return out;
}

class LayerExpander {
 public:
  LayerExpander(Context& ctx, const Projections& projections, const Spectra& spectra, const ExpandParams& p)
      : ctx_(ctx), projections_(projections), spectra_(spectra), p_(p) {}

  SkewPlanes run(std::int64_t layer, LayerExpansion& report) {
    const SkewPlanes raw = item_of(ctx_, spectra_.antisymmetric, report.lag - 1);
    report.pr_target = p_.pr_target;
    report.pr_before = paired_participation_ratio(raw.sigma);
    if (!(report.pr_before > 0))
      throw InputError(
          fmt::format("lag {} has no antisymmetric part to expand: {}", report.lag,
                      "no pair of tokens of the corpus is that far apart, or its order carries nothing; use "
                      "fewer lags or longer documents"));
    SkewPlanes out = expanded(raw, report);
    if (p_.directions == Directions::haar) randomise_directions(ctx_, out, p_.seed, layer);
    measure(raw, out, report);
    return out;
  }

 private:
  SkewPlanes expanded(const SkewPlanes& raw, LayerExpansion& report) {
    SkewPlanes out = item_of(ctx_, spectra_.antisymmetric, report.lag - 1);
    switch (p_.method) {
      case ExpandMethod::none:
        report.method = "none";
        report.pr_target = report.pr_before;
        return out;
      case ExpandMethod::temper:
        report.method = "temper";
        apply(temper(raw.sigma, p_.pr_target, kPairs), out, report.parameter);
        return out;
      case ExpandMethod::pareto: {
        const ExpandedSpectrum e = pareto(raw.sigma, p_.pr_target, kPairs);
        report.method = e.tempered ? "temper" : "pareto";
        apply(e, out, report.parameter);
        return out;
      }
      case ExpandMethod::whiten:
        return whitened(raw, report);
      case ExpandMethod::stack:
        return stacked(raw, report);
    }
    throw Error("internal error: unknown expansion method");
  }

  SkewPlanes whitened(const SkewPlanes& raw, LayerExpansion& report) {
    Whitening whitening(ctx_, projections_, report.lag, p_.whiten_ridge);
    const WhitenedTarget found = find_gamma(ctx_, whitening, p_.pr_target);
    SkewPlanes out = planes_of(ctx_, whitening.skew(found.gamma).view());
    report.method = "whiten";
    report.parameter = found.gamma;
    report.max_pr = found.max_pr;
    report.reached = found.reached;
    // Short of the target, or beyond it at γ = 0 already: tempered the rest of the way.
    if (!found.reached || found.gamma == 0)
      apply(temper(out.sigma, p_.pr_target, kPairs), out, report.temper_after);
    rescale(raw, out);
    return out;
  }

  SkewPlanes stacked(const SkewPlanes& raw, LayerExpansion& report) {
    const auto lags = static_cast<std::int32_t>(spectra_.antisymmetric.left.batch);
    const auto order = stacking_order(report.lag, lags);
    std::vector<double> weights = p_.stack_weights;
    if (weights.empty())
      for (std::int32_t i = 1; i <= lags; ++i) weights.push_back(1.0 / i);
    const std::int64_t modes =
        p_.stack_modes > 0 ? p_.stack_modes : std::max<std::int64_t>(1, raw.left.cols / (2 * lags));
    SkewPlanes out = planes_of(ctx_, stack_lags(ctx_, spectra_.antisymmetric, order, weights, modes).view());
    report.method = "stack";
    apply(temper(out.sigma, p_.pr_target, kPairs), out, report.parameter);
    rescale(raw, out);
    return out;
  }

  static void apply(const ExpandedSpectrum& e, SkewPlanes& planes, double& parameter) {
    planes.sigma = e.sigma;
    parameter = e.parameter;
  }

  /// Every method keeps ‖A_n‖: what a layer injects differs in shape and direction alone.
  static void rescale(const SkewPlanes& raw, SkewPlanes& planes) {
    const auto norm = [](const std::vector<double>& s) {
      double squares = 0;
      for (const double x : s) squares += x * x;
      return std::sqrt(squares);
    };
    const double factor = norm(raw.sigma) / norm(planes.sigma);
    for (double& s : planes.sigma) s *= factor;
  }

  void measure(const SkewPlanes& raw, const SkewPlanes& out, LayerExpansion& report) {
    report.pr_after = paired_participation_ratio(out.sigma);
    report.spectral_cosine = spectral_cosine(raw.sigma, out.sigma);
    const auto before = to_host(from_planes(ctx_, raw.sigma, raw.left.view(), raw.right.view()));
    const auto after = to_host(from_planes(ctx_, out.sigma, out.left.view(), out.right.view()));
    report.matrix_cosine = matrix_cosine(before, after);
    report.overlap_k = static_cast<std::int32_t>(std::min<std::int64_t>(8, 2 * raw.left.rows));
    report.subspace_overlap =
        subspace_overlap(top_directions(raw, report.overlap_k), top_directions(out, report.overlap_k),
                         report.overlap_k, raw.left.cols);
  }

  Context& ctx_;
  const Projections& projections_;
  const Spectra& spectra_;
  const ExpandParams& p_;
};

void check(const ExpandParams& p, const Spectra& spectra) {
  const std::int64_t lags = spectra.antisymmetric.left.batch;
  if (spectra.antisymmetric.left.rows < 1)
    throw UsageError("a 1 x 1 matrix has no antisymmetric part: use an embedding dimension of at least 2");
  if (p.layer_lags.empty()) throw UsageError("no layers to expand for");
  for (const std::int32_t lag : p.layer_lags)
    if (lag < 1 || lag > lags)
      throw UsageError(fmt::format("layer lag {} was not counted: lags are 1 to {}", lag, lags));
  if (p.method == ExpandMethod::stack) {
    if (p.stack_modes < 0)
      throw UsageError(fmt::format("stack modes must be positive, not {}", p.stack_modes));
    if (!p.stack_weights.empty() && static_cast<std::int64_t>(p.stack_weights.size()) != lags)
      throw UsageError(
          fmt::format("{} stack weights for {} lags: give one for each", p.stack_weights.size(), lags));
    for (const double w : p.stack_weights)
      if (!(w >= 0) || !std::isfinite(w))
        throw UsageError(fmt::format("stack weight {} is not a number >= 0", w));
  }
  if (p.method == ExpandMethod::whiten && !(p.whiten_ridge >= 0 && std::isfinite(p.whiten_ridge)))
    throw UsageError(fmt::format("whiten ridge {} is not a number >= 0", p.whiten_ridge));
}

}  // namespace

ExpandedSpectra expand(Context& ctx, const Projections& projections, const Spectra& spectra,
                       const ExpandParams& p) {
  check(p, spectra);
  const std::int64_t m = spectra.antisymmetric.left.rows, d = spectra.antisymmetric.left.cols;
  const auto layers = static_cast<std::int64_t>(p.layer_lags.size());
  ExpandedSpectra out;
  out.planes = {{}, Matrix(ctx.device(), m, d, layers), Matrix(ctx.device(), m, d, layers)};
  LayerExpander expander(ctx, projections, spectra, p);
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    ctx.check_interrupt();
    LayerExpansion report;
    report.lag = p.layer_lags[static_cast<std::size_t>(layer)];
    const SkewPlanes planes = expander.run(layer, report);
    out.planes.sigma.insert(out.planes.sigma.end(), planes.sigma.begin(), planes.sigma.end());
    const std::size_t bytes = planes.left.data.size() * sizeof(double);
    ctx.device().copy(out.planes.left.view().item(layer).data, planes.left.data.data(), bytes);
    ctx.device().copy(out.planes.right.view().item(layer).data, planes.right.data.data(), bytes);
    ctx.device().synchronize();
    out.layers.push_back(std::move(report));
    ctx.progress().update("expand", static_cast<double>(layer + 1), static_cast<double>(layers),
                          static_cast<std::uint64_t>(layer + 1), "layers");
  }
  return out;
}

}  // namespace aloft
