#include "pipeline/analysis/weight_figures.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

#include "kernels/spectral_measures.hpp"
#include "pipeline/base/device_math.hpp"

namespace aloft::analysis {
namespace {

/// A list of two matrices' (or batches') numbers as one each.
std::pair<std::vector<double>, std::vector<double>> halves(const std::vector<double>& x) {
  const auto middle = x.begin() + std::ssize(x) / 2;
  return {{x.begin(), middle}, {middle, x.end()}};
}

/// Both circuits at once: a layer alone leaves workers idle.
Spectra spectra_of(Context& ctx, const Product& qk, const Product& ov, std::int64_t k) {
  Spectra out;
  out.items = qk.batch();
  out.d = qk.d();
  const Matrix a = joined(ctx, qk.a, ov.a), b = joined(ctx, qk.b, ov.b);
  const Product both{a.cview(), b.cview()};
  KernelSpectra spectra = kernel_spectra(ctx, both, k);
  std::tie(out.qk, out.ov) = halves(spectra.sigma);
  std::tie(out.qk_skew, out.ov_skew) = halves(spectra.planes);
  out.top = std::move(spectra.top);
  ctx.check_interrupt();
  const EigenShares shares = eigen_shares(ctx, both);
  std::tie(out.qk_eigen.real, out.ov_eigen.real) = halves(shares.real);
  std::tie(out.qk_eigen.positive, out.ov_eigen.positive) = halves(shares.positive);
  return out;
}

/// ΣRe λ/Σ|λ| of U OV_h Eᵀ: those of V_g (Eᵀ U) O_hᵀ. value: as it is, not expanded.
std::vector<double> copying_of(Context& ctx, const ModelShape& s, const Matrix& value, const Matrix& output,
                               ConstMatrixView token_gram) {
  Matrix of_groups(ctx.device(), value.rows, value.cols, value.batch);
  ctx.linear().gemm(1, Op::none, value.cview(), Op::none, token_gram, 0, of_groups.view());
  const Matrix read = expanded(ctx, s, of_groups);
  Matrix small(ctx.device(), s.head_dim, s.head_dim, value.batch * s.heads);
  ctx.linear().gemm(1, Op::none, heads_of(read, s), Op::transpose, heads_of(output, s), 0, small.view());
  return eigen_shares(ctx, small.cview()).positive;
}

double norm_of(std::span<const double> sigma) {
  return std::sqrt(std::inner_product(sigma.begin(), sigma.end(), sigma.begin(), 0.0));
}

/// Of a matrix that is zero (a pruned head): it has no shape, and a figure of it would be compared with
/// others.
constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

void add_spectrum(std::vector<Figure>& out, const std::string& subject, std::span<const double> sigma) {
  SpectrumMeasures m{kNothing, kNothing, kNothing, kNothing, kNothing};
  if (norm_of(sigma) > 0) m = measure_spectrum(sigma);
  for (const auto& [measure, value] : {std::pair{"pr_energy", m.pr_energy},
                                       {"pr_linear", m.pr_linear},
                                       {"effective_rank", m.effective_rank},
                                       {"top8_energy", m.top8_energy},
                                       {"top32_energy", m.top32_energy}})
    out.push_back({subject, measure, value});
}

void add_norm(std::vector<Figure>& out, const std::string& subject, std::span<const double> sigma) {
  out.push_back({subject, "norm", norm_of(sigma), false});
}

/// norm, asymmetry, real_share and the five of a kernel.
void add_kernel(std::vector<Figure>& out, const std::string& subject, std::span<const double> sigma,
                std::span<const double> planes, double real_share, bool difference) {
  add_norm(out, subject, sigma);
  const double norm = norm_of(sigma), ratio = norm > 0 ? std::sqrt(2.0) * norm_of(planes) / norm : kNothing;
  if (norm == 0) real_share = kNothing;
  out.push_back({subject, "asymmetry_ratio", ratio});
  out.push_back({subject, "asymmetry_energy", ratio * ratio});
  if (difference) out.push_back({subject, "difference_ratio", 2 * ratio});
  out.push_back({subject, "real_share", real_share});
  add_spectrum(out, subject, sigma);
}

}  // namespace

std::span<const double> of_layer(const std::vector<double>& list, const GroupMeasures& m, std::int64_t item) {
  return item_of(list, item, static_cast<std::int64_t>(list.size()) / m.layers);
}

GroupMeasures measure_group(Context& ctx, const MeasureSetup& setup, const LayerGroup& group,
                            const std::vector<bool>& rotating, const std::vector<LayerBias>& bias,
                            std::int64_t k) {
  const ModelShape& s = setup.shape;
  GroupMeasures out;
  out.layers = group.layers();
  out.heads = s.heads;
  std::tie(out.q, out.o) =
      halves(values_of(ctx, joined(ctx, group.query.cview(), group.output.cview()).cview()));
  std::tie(out.k, out.v) =
      halves(values_of(ctx, joined(ctx, group.key.cview(), group.value.cview()).cview()));
  ctx.check_interrupt();
  {
    // Q Kᵀ with K expanded has the singular values of Q Kᵀ times √(H/KV): only their shape is used.
    Matrix qkt(ctx.device(), group.query.rows, group.key.rows, out.layers);
    ctx.linear().gemm(1, Op::none, group.query.cview(), Op::transpose, group.key.cview(), 0, qkt.view());
    const auto sigma = values_of(ctx, qkt.cview());
    out.qkt.assign(static_cast<std::size_t>(out.layers * group.query.rows), 0);
    for (std::int64_t l = 0; l < out.layers; ++l)
      std::copy_n(sigma.begin() + l * group.key.rows, group.key.rows, out.qkt.begin() + l * group.query.rows);
  }
  const Matrix queries = summed_by_group(ctx, s, group.query),
               outputs = summed_by_group(ctx, s, group.output);
  out.of_layers =
      spectra_of(ctx, {queries.cview(), group.key.cview()}, {outputs.cview(), group.value.cview()}, k);
  const Matrix key = expanded(ctx, s, group.key), value = expanded(ctx, s, group.value);
  out.of_heads = spectra_of(ctx, {heads_of(group.query, s), heads_of(key, s)},
                            {heads_of(group.output, s), heads_of(value, s)}, k);
  out.copying = copying_of(ctx, s, group.value, group.output, setup.token_gram);
  if (setup.positions) out.positions = head_inputs(ctx, *setup.positions, s, group, rotating, bias);
  return out;
}

std::vector<Figure> layer_figures(const GroupMeasures& m, const ModelShape& s, std::int64_t item) {
  std::vector<Figure> out;
  const double repeats = std::sqrt(static_cast<double>(s.heads / s.kv_heads));  // K and V expanded
  const auto side = [&](const char* subject, const std::vector<double>& list, double factor) {
    const auto sigma = of_layer(list, m, item);
    out.push_back({subject, "norm", factor * norm_of(sigma), false});
    std::vector<double> all(sigma.begin(), sigma.end());
    all.resize(static_cast<std::size_t>(std::max<std::int64_t>(s.d_model, std::ssize(all))));
    add_spectrum(out, subject, all);
  };
  side("Q", m.q, 1);
  side("K", m.k, repeats);
  side("V", m.v, repeats);
  side("O", m.o, 1);
  add_spectrum(out, "QKt", of_layer(m.qkt, m, item));
  const Spectra& x = m.of_layers;
  const std::int64_t d = x.d, planes = d / 2;
  const auto i = static_cast<std::size_t>(item);
  add_kernel(out, "QK", item_of(x.qk, item, d), item_of(x.qk_skew, item, planes), x.qk_eigen.real[i], true);
  add_spectrum(out, "QK_antisymmetric", paired(item_of(x.qk_skew, item, planes), d));
  add_kernel(out, "OV", item_of(x.ov, item, d), item_of(x.ov_skew, item, planes), x.ov_eigen.real[i], true);
  const double q = norm_of(of_layer(m.q, m, item));
  out.push_back({"V/Q", "norm_ratio", q > 0 ? repeats * norm_of(of_layer(m.v, m, item)) / q : 0});
  return out;
}

std::vector<Figure> head_figures(const GroupMeasures& m, std::int64_t item) {
  std::vector<Figure> out;
  const Spectra& x = m.of_heads;
  const std::int64_t d = x.d, planes = d / 2;
  const auto i = static_cast<std::size_t>(item);
  add_kernel(out, "QK", item_of(x.qk, item, d), item_of(x.qk_skew, item, planes), x.qk_eigen.real[i], false);
  add_spectrum(out, "QK_antisymmetric", paired(item_of(x.qk_skew, item, planes), d));
  add_kernel(out, "OV", item_of(x.ov, item, d), item_of(x.ov_skew, item, planes), x.ov_eigen.real[i], false);
  return out;
}

std::vector<Figure> profile_figures(const GroupMeasures& m, const ModelShape& s, std::int64_t item) {
  const auto list = [&](const std::vector<double>& of) {
    const auto sigma = of_layer(of, m, item);
    return std::vector<double>(sigma.begin(), sigma.end());
  };
  const auto q = list(m.q), k = list(m.k), v = list(m.v);
  const std::int64_t q_rows = s.heads * s.head_dim, kv_rows = s.kv_heads * s.head_dim;
  const auto random_q = marchenko_pastur(q_rows, s.d_model), random_kv = marchenko_pastur(kv_rows, s.d_model);
  std::vector<Figure> out;
  for (const auto& [first, second, p, r] : {std::tuple{"Q", "K", &q, &k},
                                            {"Q", "V", &q, &v},
                                            {"K", "V", &k, &v},
                                            {"Q", "MP", &q, &random_q},
                                            {"K", "MP", &k, &random_kv},
                                            {"V", "MP", &v, &random_kv}})
    out.push_back({first, second, profile_kl(*p, *r), true, true});
  return out;
}

std::vector<Figure> attention_figures(double copying, const std::vector<double>& mass) {
  std::vector<Figure> out;
  if (mass.size() > 1) {
    double entropy = 0;
    for (const double x : mass)
      if (x > 0) entropy -= x * std::log(x);
    out.push_back({"", "previous_token", mass[1], true, true, true});
    out.push_back({"", "profile_entropy", entropy / std::log(static_cast<double>(mass.size()))});
  }
  out.push_back({"", "copying", copying, true, false, true});
  return out;
}

double score_scale(const GroupMeasures& m, std::int64_t item) {
  return norm_of(of_layer(m.q, m, item)) * norm_of(of_layer(m.k, m, item));
}

}  // namespace aloft::analysis
