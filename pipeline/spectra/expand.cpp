#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>

#include "kernels/rank_expansion.hpp"
#include "kernels/spectral_measures.hpp"
#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/spectra/planes.hpp"
#include "pipeline/spectra/spectra.hpp"
#include "pipeline/spectra/stack.hpp"
#include "pipeline/spectra/whiten.hpp"

namespace aloft {
namespace {

constexpr std::uint64_t kHaarStream = 0x6861'6172'0000'0000ULL;  // "haar", + the layer
constexpr int kPairs = 2;                                        // singular values a plane stands for

/// Planes of one layer; views of a batch's items.
struct PlaneViews {
  std::span<const double> sigma;  ///< [m]
  ConstMatrixView left, right;    ///< [m, d]
};

PlaneViews item_of(const SkewPlanes& all, std::int64_t item) {
  const std::int64_t m = all.left.rows;
  const HostView sigma(all.sigma, m);
  return {{sigma.row(item), sigma.row(item + 1)}, all.left.view().item(item), all.right.view().item(item)};
}

/// Rows that span the planes 0..k/2.
std::vector<double> top_directions(Device& device, const PlaneViews& planes, std::int64_t k) {
  auto out = to_host(device, planes.left.row_block(0, k / 2));
  const auto right = to_host(device, planes.right.row_block(0, k / 2));
  out.insert(out.end(), right.begin(), right.end());
  return out;
}

/// Each layer's spectrum stays, its planes are drawn from the Haar measure.
void randomise_directions(Context& ctx, SkewPlanes& planes, std::uint64_t seed) {
  const std::int64_t m = planes.left.rows, d = planes.left.cols, layers = planes.left.batch;
  Matrix y(ctx.device(), d, 2 * m, layers);
  for (std::int64_t layer = 0; layer < layers; ++layer)
    ctx.linear().fill_normal(y.view().item(layer), seed, kHaarStream + static_cast<std::uint64_t>(layer), 1);
  ctx.linear().orthonormalize(y.view());  // diag(R) >= 0 makes the distribution exactly Haar (Mezzadri, 2007)
  const Matrix rows = transposed(ctx, y.view());
  copy(ctx.device(), rows.view().row_block(0, m), planes.left.view());
  copy(ctx.device(), rows.view().row_block(m, m), planes.right.view());
}

/// All layers at once wherever a decomposition is needed, so that the backend sees one batch.
class Expander {
 public:
  Expander(Context& ctx, const Projections& projections, const Spectra& spectra, const ExpandParams& p)
      : ctx_(ctx), projections_(projections), raw_(spectra.antisymmetric), p_(p) {}

  ExpandedSpectra run() {
    for (const std::int32_t lag : p_.layer_lags) {
      LayerExpansion report;
      report.lag = lag;
      report.pr_target = p_.pr_target;
      report.pr_before = paired_participation_ratio(raw_of(report).sigma);
      if (!(report.pr_before > 0))
        throw InputError(fmt::format(
            "lag {} has no antisymmetric part to expand: {}", lag,
            "no pair of tokens of the corpus is that far apart, or its order carries nothing; use "
            "fewer lags or longer documents"));
      out_.layers.push_back(report);
    }
    fill_planes();
    for (std::size_t layer = 0; layer < out_.layers.size(); ++layer) reshape(layer);
    if (p_.directions == Directions::haar) randomise_directions(ctx_, out_.planes, p_.seed);
    for (std::size_t layer = 0; layer < out_.layers.size(); ++layer) {
      ctx_.check_interrupt();
      measure(layer);
      progress(0.5 * static_cast<double>(layers() + static_cast<std::int64_t>(layer) + 1));
    }
    return std::move(out_);
  }

 private:
  [[nodiscard]] std::int64_t layers() const { return static_cast<std::int64_t>(p_.layer_lags.size()); }
  [[nodiscard]] PlaneViews raw_of(const LayerExpansion& report) const {
    return item_of(raw_, report.lag - 1);
  }
  void progress(double done) {
    ctx_.progress().update("expand", done, static_cast<double>(layers()), static_cast<std::uint64_t>(done),
                           "layers");
  }

  /// The planes each layer starts from: its lag's own, or those of a matrix made for it.
  void fill_planes() {
    const std::int64_t m = raw_.left.rows, d = raw_.left.cols;
    if (p_.method == ExpandMethod::whiten || p_.method == ExpandMethod::stack) {
      Matrix targets(ctx_.device(), d, d, layers());
      p_.method == ExpandMethod::whiten ? whitened(targets) : stacked(targets);
      out_.planes = planes_of(ctx_, targets.view());
      return;
    }
    out_.planes = {{}, Matrix(ctx_.device(), m, d, layers()), Matrix(ctx_.device(), m, d, layers())};
    for (std::int64_t layer = 0; layer < layers(); ++layer) {
      const PlaneViews raw = raw_of(at(out_.layers, layer));
      out_.planes.sigma.insert(out_.planes.sigma.end(), raw.sigma.begin(), raw.sigma.end());
      copy(ctx_.device(), raw.left, out_.planes.left.view().item(layer));
      copy(ctx_.device(), raw.right, out_.planes.right.view().item(layer));
    }
  }

  void whitened(Matrix& targets) {
    Whitening whitening(ctx_, projections_, p_.layer_lags, p_.whiten_ridge);
    for (std::size_t layer = 0; layer < out_.layers.size(); ++layer) {
      LayerExpansion& report = out_.layers[layer];
      const WhitenedTarget found = find_gamma(ctx_, whitening, report.lag, p_.pr_target);
      report.parameter = found.gamma;
      report.max_pr = found.max_pr;
      report.reached = found.reached;
      put(whitening.skew(report.lag, {&found.gamma, 1}), layer, targets);
    }
  }

  void stacked(Matrix& targets) {
    const auto lags = static_cast<std::int32_t>(raw_.left.batch);
    std::vector<double> weights = p_.stack_weights;
    if (weights.empty())
      for (std::int32_t i = 1; i <= lags; ++i) weights.push_back(1.0 / i);
    const std::int64_t modes =
        p_.stack_modes > 0 ? p_.stack_modes : std::max<std::int64_t>(1, raw_.left.cols / (2 * lags));
    for (std::size_t layer = 0; layer < out_.layers.size(); ++layer)
      put(stack_lags(ctx_, raw_, stacking_order(out_.layers[layer].lag, lags), weights, modes), layer,
          targets);
  }

  void put(const Matrix& target, std::size_t layer, Matrix& targets) {
    ctx_.check_interrupt();
    copy(ctx_.device(), target.view(), targets.view().item(static_cast<std::int64_t>(layer)));
    progress(0.5 * static_cast<double>(layer + 1));
  }

  /// The layer's singular values.
  void reshape(std::size_t layer) {
    LayerExpansion& report = out_.layers[layer];
    const PlaneViews raw = raw_of(report);
    const auto m = static_cast<std::ptrdiff_t>(raw_.left.rows);
    const auto at = out_.planes.sigma.begin() + static_cast<std::ptrdiff_t>(layer) * m;
    std::vector<double> sigma(at, at + m);
    const auto take = [&](const ExpandedSpectrum& e, double& parameter) {
      sigma = e.sigma;
      parameter = e.parameter;
    };
    switch (p_.method) {
      case ExpandMethod::none:
        report.method = "none";
        report.pr_target = report.pr_before;
        break;
      case ExpandMethod::temper:
        report.method = "temper";
        take(temper(sigma, p_.pr_target, kPairs), report.parameter);
        break;
      case ExpandMethod::pareto: {
        const ExpandedSpectrum e = pareto(sigma, p_.pr_target, kPairs);
        report.method = e.tempered ? "temper" : "pareto";
        take(e, report.parameter);
        break;
      }
      case ExpandMethod::whiten:
        report.method = "whiten";
        // Short of the target, or beyond it at γ = 0 already: tempered the rest of the way.
        if (!report.reached || report.parameter == 0)
          take(temper(sigma, p_.pr_target, kPairs), report.temper_after);
        rescale(raw.sigma, sigma);
        break;
      case ExpandMethod::stack:
        report.method = "stack";
        take(temper(sigma, p_.pr_target, kPairs), report.parameter);
        rescale(raw.sigma, sigma);
        break;
    }
    std::copy(sigma.begin(), sigma.end(), at);
  }

  /// Every method keeps ‖A_n‖: what a layer injects differs in shape and direction alone.
  static void rescale(std::span<const double> raw, std::vector<double>& sigma) {
    const auto norm = [](std::span<const double> s) {
      double squares = 0;
      for (const double x : s) squares += x * x;
      return std::sqrt(squares);
    };
    const double factor = norm(raw) / norm(sigma);
    for (double& s : sigma) s *= factor;
  }

  /// ⟨X,Y⟩/(‖X‖‖Y‖).
  double cosine(const Matrix& x, const Matrix& y) {
    const auto inner = [&](const Matrix& a, const Matrix& b) {
      return inner_products(ctx_, a.view(), b.view())[0];
    };
    return inner(x, y) / std::sqrt(inner(x, x) * inner(y, y));
  }

  void measure(std::size_t layer) {
    LayerExpansion& report = out_.layers[layer];
    const PlaneViews raw = raw_of(report), out = item_of(out_.planes, static_cast<std::int64_t>(layer));
    report.pr_after = paired_participation_ratio(out.sigma);
    report.spectral_cosine = spectral_cosine(raw.sigma, out.sigma);
    report.matrix_cosine = cosine(from_planes(ctx_, raw.sigma, raw.left, raw.right),
                                  from_planes(ctx_, out.sigma, out.left, out.right));
    report.overlap_k = static_cast<std::int32_t>(std::min<std::int64_t>(8, 2 * raw.left.rows));
    report.subspace_overlap = subspace_overlap(top_directions(ctx_.device(), raw, report.overlap_k),
                                               top_directions(ctx_.device(), out, report.overlap_k),
                                               report.overlap_k, raw.left.cols);
  }

  Context& ctx_;
  const Projections& projections_;
  const SkewPlanes& raw_;  // one item per lag
  const ExpandParams& p_;
  ExpandedSpectra out_;
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

std::string key_json(const ExpandParams& params) {
  const auto& [method, pr_target, directions, layer_lags, stack_modes, stack_weights, whiten_ridge, seed] =
      params;
  return nlohmann::ordered_json{{"method", method},
                                {"pr_target", pr_target},
                                {"directions", directions},
                                {"layer_lags", layer_lags},
                                {"stack_modes", stack_modes},
                                {"stack_weights", stack_weights},
                                {"whiten_ridge", whiten_ridge},
                                {"seed", seed}}
      .dump();
}

ExpandedSpectra expand(Context& ctx, const Projections& projections, const Spectra& spectra,
                       const ExpandParams& p) {
  check(p, spectra);
  return Expander(ctx, projections, spectra, p).run();
}

Peak expand_memory(const LinearOps& ops, std::int64_t d, const ExpandParams& p) {
  const auto squares = [d](std::int64_t n) { return on_device(matrix_bytes(d, d, n)); };
  const auto layers = static_cast<std::int64_t>(p.layer_lags.size());
  const Footprint planes = squares(layers) + on_device(matrix_bytes(d, layers)), targets = planes;
  const Footprint assembling = squares(3);  // from_planes, its result included
  Peak out;
  if (p.method == ExpandMethod::whiten) out.reach(targets, whiten_memory(ops, d, p.layer_lags));
  if (p.method == ExpandMethod::stack) out.reach(targets, stack_memory(ops, d));
  if (p.method == ExpandMethod::whiten || p.method == ExpandMethod::stack)
    out.reach(targets + planes + ops.skew_spectrum_scratch(d, layers));
  if (p.directions == Directions::haar) {
    out.reach(planes + planes + ops.orthonormalize_scratch(d, d / 2 * 2, layers));
    out.reach(planes + planes + planes);
  }
  out.reach(planes + squares(1) + assembling);
  return out;
}

}  // namespace aloft
