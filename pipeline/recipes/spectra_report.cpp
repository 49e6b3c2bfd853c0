#include "pipeline/recipes/spectra_report.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>

#include "host/json_build.hpp"
#include "kernels/rank_expansion.hpp"
#include "kernels/spectral_measures.hpp"
#include "pipeline/spectra/gaussian_null.hpp"

namespace aloft {
namespace {

using Json = nlohmann::ordered_json;

// Measured in "Asymmetry injection" (first paper) on its own corpus and its trained 8-layer model of width
// 256.
constexpr double kPaperTransitionRatio = 0.707;
constexpr double kPaperCorpusPr = 2.6;
const std::vector<double> kPaperAttentionPr{18.1, 44.8, 32.7, 30.7, 38.0, 32.8, 41.3, 41.6};
const std::vector<double> kPaperAttentionRatio{0.717, 0.667, 0.643, 0.704, 0.662, 0.646, 0.696, 0.664};
const std::vector<double> kPaperSpectralCosine{0.923, 0.567, 0.708, 0.709, 0.664, 0.744, 0.626, 0.594};
// Where the frontier is tabulated: the range of trained layers in the paper, and the way there.
constexpr double kFrontier[] = {5, 10, 18.1, 30, 44};

std::span<const double> item(const std::vector<double>& all, std::int64_t width, std::int64_t index) {
  return {all.data() + index * width, static_cast<std::size_t>(width)};
}

Json asymmetry_json(double norm2, double inner) {
  const Asymmetry a = asymmetry({norm2, inner});
  return {{"ratio", a.ratio}, {"energy", a.energy}};
}

Json spectrum_json(std::span<const double> sigma) {
  const SpectrumMeasures m = measure_spectrum(sigma);
  return {{"pr_energy", m.pr_energy},
          {"pr_linear", m.pr_linear},
          {"effective_rank", m.effective_rank},
          {"top8_energy", m.top8_energy},
          {"top32_energy", m.top32_energy}};
}

Json with_sigma(Json measures, std::span<const double> sigma) {
  measures["sigma"] = std::vector<double>(sigma.begin(), sigma.end());
  return measures;
}

/// One lag of the corpus, or of its null: the same figures under the same names.
Json lag_json(const LagMeasurements& m, std::int64_t lag) {
  const auto at = static_cast<std::size_t>(lag);
  const LagAsymmetry& a = m.asymmetry.at(at);
  const SkewPlanes& planes = m.spectra->antisymmetric;
  const std::int64_t d = planes.left.cols;
  const auto skew = paired(item(planes.sigma, planes.left.rows, lag), d);
  const auto general = item(m.spectra->general_sigma, d, lag);
  Json out = Json::object();
  out["pairs"] = m.counts->pairs.at(at);
  out["counts_asymmetry"] = asymmetry_json(a.counts_norm2, a.counts_inner);
  out["transition_asymmetry"] = asymmetry_json(a.transition_norm2, a.transition_inner);
  out["antisymmetric"] = with_sigma(spectrum_json(skew), skew);
  out["general"] = with_sigma(spectrum_json(general), general);
  out["general"]["norm"] = m.spectra->transition_norm.at(at);
  return out;
}

Json lags_json(const SpectraReport& r) {
  Json out = Json::array();
  for (std::int32_t lag = 0; lag < r.lags.counts->max_lag; ++lag) {
    Json row{{"lag", lag + 1}};
    row.update(lag_json(r.lags, lag));
    if (r.null) {
      Json null{{"tokens", r.null->counts->tokens}};
      null.update(lag_json(*r.null, lag));
      row["null_shuffled"] = std::move(null);
    }
    if (lag == 0)
      row["paper"] = {{"transition_asymmetry_ratio", kPaperTransitionRatio},
                      {"antisymmetric_pr_energy", kPaperCorpusPr}};
    out.push_back(std::move(row));
  }
  return out;
}

Json gaussian_json(const GaussianNull::Sample& s, std::int64_t d) {
  Json out{{"asymmetry", {{"ratio", s.ratio}, {"energy", s.ratio * s.ratio}}}};
  out["antisymmetric"] = spectrum_json(paired(s.planes, d));
  return out;
}

Json frontier_json(std::span<const double> planes, double pr_target) {
  std::vector<double> targets(std::begin(kFrontier), std::end(kFrontier));
  if (pr_target > 0) targets.push_back(pr_target);
  std::sort(targets.begin(), targets.end());
  targets.erase(std::unique(targets.begin(), targets.end()), targets.end());
  Json out = Json::array();
  for (const FrontierPoint& p : frontier(planes, targets, 2))
    out.push_back(
        {{"pr_target", p.target}, {"pareto_cosine", p.pareto_cosine}, {"temper_cosine", p.temper_cosine}});
  return out;
}

Json composition_json(const LayerComposition& c) {
  Json out{
      {"scale", c.scale}, {"kernel_norm", c.kernel_norm}, {"truncation_residual", c.truncation_residual}};
  for (const auto& [name, value] : c.measures) object_in(out, "measures")[name] = value;
  return out;
}

Json layer_json(const SpectraReport& r, std::size_t layer) {
  const LayerExpansion& e = r.expanded->layers[layer];
  const SkewPlanes& raw = r.lags.spectra->antisymmetric;
  const std::int64_t d = raw.left.cols, m = raw.left.rows;
  const auto before = item(raw.sigma, m, e.lag - 1);
  const auto after = item(r.expanded->planes.sigma, m, static_cast<std::int64_t>(layer));
  const auto full = paired(after, d);
  Json out{{"layer", layer}, {"lag", e.lag}, {"method", e.method}, {"parameter", e.parameter}};
  out["pr_target"] = e.pr_target;
  if (e.method == "whiten") {
    out["reached"] = e.reached;
    out["max_pr"] = e.max_pr;
    out["temper_after"] = e.temper_after;
  }
  out["before"] = spectrum_json(paired(before, d));
  out["after"] = with_sigma(spectrum_json(full), full);
  out["spectral_cosine"] = e.spectral_cosine;
  // A random direction's cosine is about 1/√(number of free entries); a random subspace's overlap k/d.
  out["matrix_cosine"] = {{"value", e.matrix_cosine},
                          {"null", 1 / std::sqrt(static_cast<double>(d * (d - 1) / 2))}};
  out["subspace_overlap"] = {{"k", e.overlap_k},
                             {"value", e.subspace_overlap},
                             {"null", static_cast<double>(e.overlap_k) / static_cast<double>(d)}};
  out["frontier"] = frontier_json(before, r.pr_target);
  if (layer < r.composed.size()) out["composition"] = composition_json(r.composed[layer]);
  return out;
}

}  // namespace

std::string spectra_report_json(Context& ctx, const SpectraReport& r) {
  expects(r.lags.counts != nullptr && r.lags.spectra != nullptr, "a report of something");
  const std::int64_t d = r.lags.spectra->antisymmetric.left.cols;
  Json out = Json::object();
  out["tokens"] = r.lags.counts->tokens;
  out["vocab"] = r.lags.counts->vocab;
  out["d_model"] = d;
  out["definitions"] = {
      {"ratio", "|M_A|/|M|, M_A = (M - M^T)/2; 0.7071 for any M with <M,M^T> = 0"},
      {"energy", "|M_A|^2/|M|^2, the square of ratio"},
      {"counts, transition", "J_n and its row-stochastic T_n, both vocab x vocab"},
      {"general, antisymmetric",
       "P_n = E^T T_n E and its antisymmetric part A_n, d x d; singular values in pairs"},
      {"pr_energy, pr_linear", "(sum s^2)^2/sum s^4 and (sum s)^2/sum s^2"},
      {"effective_rank", "exp of the entropy of s/sum s"},
      {"frontier", "largest cosine to the raw spectrum that a participation ratio allows, and tempering's"}};
  out["paper"] = {{"source", "Asymmetry injection: trained 8-layer model of width 256"},
                  {"attention_asymmetry_ratio", kPaperAttentionRatio},
                  {"attention_pr_energy", kPaperAttentionPr},
                  {"spectral_cosine_corpus_attention", kPaperSpectralCosine}};
  const GaussianNull gaussian = measure_gaussian_null(ctx, d, r.seed);
  out["null_gaussian"] = {{"attention_kernel", gaussian_json(gaussian.kernel, d)},
                          {"plain", gaussian_json(gaussian.plain, d)}};
  out["lags"] = lags_json(r);
  if (r.expanded != nullptr) {
    out["layers"] = Json::array();
    for (std::size_t layer = 0; layer < r.expanded->layers.size(); ++layer)
      array_in(out, "layers").push_back(layer_json(r, layer));
  }
  return out.dump(1) + "\n";
}

}  // namespace aloft
