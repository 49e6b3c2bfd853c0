#include "pipeline/analysis/corpus_tables.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "kernels/rank_expansion.hpp"
#include "kernels/spectral_measures.hpp"
#include "pipeline/spectra/spectra.hpp"

namespace aloft::analysis {
namespace {

constexpr double kTargets[] = {5, 10, 18.1, 24, 30, 36, 44, 60, 80, 100};
constexpr int kSpectrumPoints = 48;

using NamedValue = std::pair<std::string, double>;

std::vector<NamedValue> spectrum_measures(std::span<const double> sigma) {
  const SpectrumMeasures m = measure_spectrum(sigma);
  return {{"pr_energy", m.pr_energy},
          {"pr_linear", m.pr_linear},
          {"effective_rank", m.effective_rank},
          {"top8_energy", m.top8_energy},
          {"top32_energy", m.top32_energy}};
}

std::vector<NamedValue> asymmetry_measures(const TransposeInner& of) {
  const Asymmetry a = asymmetry(of);
  return {{"asymmetry_ratio", a.ratio}, {"asymmetry_energy", a.energy}};
}

double square(std::span<const double> x) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  return sum;
}

/// Everything measured of one lag, subject by subject; the same of the corpus and of its null.
std::vector<std::pair<std::string, std::vector<NamedValue>>> lag_measures(const LagAsymmetry& a,
                                                                          const LagSide& side,
                                                                          std::int64_t lag) {
  const auto sigma = item_of(side.sigma, 2 * lag, side.d), planes = item_of(side.planes, 2 * lag, side.d / 2);
  const double whole = square(sigma), turned = 2 * square(planes);
  std::vector<NamedValue> projected{{"asymmetry_ratio", whole > 0 ? std::sqrt(turned / whole) : 0},
                                    {"asymmetry_energy", whole > 0 ? turned / whole : 0}};
  for (NamedValue& m : spectrum_measures(sigma)) projected.push_back(std::move(m));
  return {{"counts", asymmetry_measures({a.counts_norm2, a.counts_inner})},
          {"transition", asymmetry_measures({a.transition_norm2, a.transition_inner})},
          {"projected", std::move(projected)},
          {"projected_antisymmetric", spectrum_measures(paired(planes, side.d))}};
}

}  // namespace

Table corpus_table(Context& ctx, const Counts& counts, const LagSide& side, const Counts& shuffled,
                   const LagSide& shuffled_side) {
  Table out{"corpus",
            "the corpus itself, lag by lag, next to shuffled text",
            with_measurement({{"lag", "tokens between the two"},
                              {"subject", "counts, transition, projected or projected_antisymmetric"},
                              {"measure", "what is measured of it"}}),
            {}};
  const auto own = measure_asymmetry(ctx, counts), null = measure_asymmetry(ctx, shuffled);
  for (std::int64_t lag = 0; lag < side.lags; ++lag) {
    const auto subjects = lag_measures(own[static_cast<std::size_t>(lag)], side, lag),
               nulls = lag_measures(null[static_cast<std::size_t>(lag % shuffled_side.lags)], shuffled_side,
                                    lag % shuffled_side.lags);
    for (std::size_t s = 0; s < subjects.size(); ++s)
      for (std::size_t m = 0; m < subjects[s].second.size(); ++m)
        out.add({Cell(lag + 1), Cell(subjects[s].first), Cell(subjects[s].second[m].first),
                 number(subjects[s].second[m].second), number(nulls[s].second[m].second), Cell(), Cell(),
                 Cell()});
  }
  return out;
}

Table frontier_table(const LagSide& side) {
  Table out{"frontier",
            "what a participation ratio costs: the largest spectral cosine with A_n at that ratio",
            {{"lag", "of A_n"},
             {"target", "participation ratio (energy)"},
             {"pareto_cosine", "of the spectrum nearest to A_n's"},
             {"temper_cosine", "of A_n's singular values to a power"}},
            {}};
  for (std::int64_t lag = 0; lag < side.lags; ++lag) {
    const auto planes = item_of(side.planes, 2 * lag, side.d / 2);
    if (square(planes) == 0) continue;
    for (const FrontierPoint& point : frontier(planes, kTargets, 2))
      out.add({Cell(lag + 1), Cell(point.target), number(point.pareto_cosine), number(point.temper_cosine)});
  }
  return out;
}

Table spectra_table() {
  return {"spectra",
          "singular values, by falling size",
          {{"subject",
            "Q, K, V, O, QK, QK_antisymmetric, OV of a layer; projected, projected_antisymmetric of the "
            "corpus"},
           {"layer", "from 0; null: of the corpus"},
           {"lag", "of the corpus"},
           {"index", "from 1"},
           {"sigma", "the singular value"}},
          {}};
}

void add_spectrum(Table& spectra, const std::string& subject, std::optional<std::int64_t> layer,
                  std::optional<std::int64_t> lag, std::span<const double> sigma) {
  const double last = std::log(static_cast<double>(std::max<std::size_t>(sigma.size(), 1)));
  std::int64_t before = 0;
  for (int k = 0; k < kSpectrumPoints; ++k) {
    const auto index = static_cast<std::int64_t>(std::lround(std::exp(last * k / (kSpectrumPoints - 1))));
    if (index <= before || index > std::ssize(sigma)) continue;
    spectra.add({Cell(subject), cell(layer), cell(lag), Cell(index),
                 number(sigma[static_cast<std::size_t>(index - 1)])});
    before = index;
  }
}

void add_lag_spectra(Table& spectra, const LagSide& side) {
  for (std::int64_t lag = 0; lag < side.lags; ++lag) {
    add_spectrum(spectra, "projected", std::nullopt, lag + 1, item_of(side.sigma, 2 * lag, side.d));
    add_spectrum(spectra, "projected_antisymmetric", std::nullopt, lag + 1,
                 paired(item_of(side.planes, 2 * lag, side.d / 2), side.d));
  }
}

}  // namespace aloft::analysis
