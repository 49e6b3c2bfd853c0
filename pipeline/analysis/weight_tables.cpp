#include "pipeline/analysis/weight_tables.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <tuple>
#include <utility>

#include "kernels/spectral_measures.hpp"
#include "pipeline/analysis/claims.hpp"
#include "pipeline/analysis/corpus_tables.hpp"
#include "pipeline/analysis/permutations.hpp"

namespace aloft::analysis {
namespace {

constexpr std::int64_t kShownDistances = 64;
constexpr double kStandsOut = 3;  // times every other distance's mass
constexpr double kUniform = 2;    // times the mean mass, at most

MeasurementTable table_of(const char* name, const char* about, std::vector<Column> leading) {
  return MeasurementTable({name, about, with_measurement(std::move(leading)), {}});
}

}  // namespace

WeightTables::WeightTables(const ModelShape& shape, const std::optional<PositionSetup>& setup,
                           const std::vector<GroupMeasures>& draws, std::uint64_t seed,
                           std::int64_t permutations)
    : weights(table_of("weights", "spectra, norms and asymmetry of weights and circuits",
                       {{"layer", "from 0"},
                        {"head", "from 0; null: the whole layer"},
                        {"subject", "which matrix"},
                        {"measure", "what is measured of it"}})),
      profiles(table_of("profiles", "KL(p||q) of singular values divided by their sum, nats",
                        {{"layer", "from 0"}, {"first", "p"}, {"second", "q"}})),
      twinning(table_of("twinning", "mean over layers of that KL, against other layers' second matrices",
                        {{"first", "p"}, {"second", "q"}})),
      heads(table_of("heads", "what a head does, from its weights alone",
                     {{"layer", "from 0"}, {"head", "from 0"}, {"measure", "what is measured of it"}})),
      positions{"positions",
                "attention by distance, when every token is the average token",
                {{"layer", "from 0"},
                 {"head", "from 0"},
                 {"distance", "tokens back"},
                 {"mass", "share of attention"}},
                {}},
      labels{"labels",
             "which heads are of a known kind",
             {{"layer", "from 0"},
              {"head", "from 0"},
              {"label", "previous-token, uniform, copying; empty: none"}},
             {}},
      spectra(spectra_table()),
      shape_(shape),
      setup_(setup),
      draws_(draws),
      seed_(seed),
      permutations_(permutations) {
  for (const GroupMeasures& draw : draws_) {
    for (std::int64_t l = 0; l < draw.layers; ++l) {
      layer_null_.push_back(layer_figures(draw, shape_, l));
      profile_null_.push_back(profile_figures(draw, shape_, l));
    }
    for (std::int64_t h = 0; h < draw.layers * draw.heads; ++h) head_null_.push_back(head_figures(draw, h));
  }
}

void WeightTables::add_figures(MeasurementTable& table, const std::vector<Cell>& leading,
                               const std::string& scope, const std::vector<Figure>& figures,
                               const std::vector<std::vector<Figure>>& null, std::int64_t tests) {
  for (std::size_t f = 0; f < figures.size(); ++f) {
    std::vector<double> draws;
    if (figures[f].has_null)
      for (const auto& draw : null) draws.push_back(draw[f].value);
    std::vector<Cell> cells = leading;
    std::string family = scope;
    for (const std::string& name : {figures[f].subject, figures[f].measure})
      if (!name.empty()) {
        cells.emplace_back(name);
        family += name + "/";
      }
    table.add(family, std::move(cells),
              against_draws(figures[f].value, draws, figures[f].on_log, tests,
                            figures[f].upper ? Side::upper : Side::both));
  }
}

void WeightTables::add_head(const MeasuredGroup& group, std::int64_t item) {
  const GroupMeasures& m = group.measures;
  const std::int64_t within = item / m.heads, layer = group.first_layer + within, head = item % m.heads;
  const std::vector<Cell> leading{Cell(layer), Cell(head)};
  add_figures(weights, leading, "heads/", head_figures(m, item), head_null_, shape_.layers * m.heads);

  std::vector<double> mass;
  if (m.positions) mass = position_profile(*setup_, shape_, *m.positions, within, head, 1);
  // The null attends as sharply as a head with weights of this layer's size would.
  std::vector<std::vector<Figure>> null;
  for (const GroupMeasures& draw : draws_)
    for (std::int64_t l = 0; l < draw.layers; ++l)
      for (std::int64_t h = 0; h < draw.heads; ++h) {
        std::vector<double> drawn;
        if (draw.positions)
          drawn = position_profile(*setup_, shape_, *draw.positions, l, h,
                                   score_scale(m, within) / score_scale(draw, l));
        null.push_back(attention_figures(draw.copying[static_cast<std::size_t>(l * draw.heads + h)], drawn));
      }
  add_figures(heads, leading, "", attention_figures(m.copying[static_cast<std::size_t>(item)], mass), null,
              shape_.layers * m.heads);
  for (std::int64_t delta = 0; delta < std::min(std::ssize(mass), kShownDistances); ++delta)
    positions.add({Cell(layer), Cell(head), Cell(delta), number(mass[static_cast<std::size_t>(delta)])});
  mass_.push_back(std::move(mass));
}

void WeightTables::add(const MeasuredGroup& group) {
  const GroupMeasures& m = group.measures;
  for (std::int64_t l = 0; l < m.layers; ++l) {
    const std::int64_t layer = group.first_layer + l;
    add_figures(weights, {Cell(layer), Cell()}, "layers/", layer_figures(m, shape_, l), layer_null_,
                shape_.layers);
    add_figures(profiles, {Cell(layer)}, "", profile_figures(m, shape_, l), profile_null_, shape_.layers);
    const auto q = of_layer(m.q, m, l), k = of_layer(m.k, m, l);
    q_.emplace_back(q.begin(), q.end());
    k_.emplace_back(k.begin(), k.end());
    const auto v = of_layer(m.v, m, l);
    v_.emplace_back(v.begin(), v.end());
    const Spectra& x = m.of_layers;
    const double repeats = std::sqrt(static_cast<double>(shape_.heads / shape_.kv_heads));
    const auto rows = static_cast<std::size_t>(std::min(shape_.heads * shape_.head_dim, shape_.d_model));
    const auto add_side = [&](const char* subject, std::span<const double> sigma, double factor) {
      std::vector<double> all(sigma.begin(), sigma.end());
      for (double& value : all) value *= factor;  // expanded: every row as often as it is read
      all.resize(std::max(rows, all.size()));
      add_spectrum(spectra, subject, layer, std::nullopt, all);
    };
    add_side("Q", q, 1);
    add_side("K", k, repeats);
    add_side("V", v, repeats);
    add_side("O", of_layer(m.o, m, l), 1);
    add_spectrum(spectra, "QK", layer, std::nullopt, item_of(x.qk, l, x.d));
    add_spectrum(spectra, "OV", layer, std::nullopt, item_of(x.ov, l, x.d));
    add_spectrum(spectra, "QK_antisymmetric", layer, std::nullopt,
                 paired(item_of(x.qk_skew, l, x.d / 2), x.d));
  }
  for (std::int64_t h = 0; h < m.layers * m.heads; ++h) add_head(group, h);
}

void WeightTables::add_twinning() {
  const auto layers = std::ssize(q_);
  if (layers < 2) return;
  const Permutations others(layers, permutations_, seed_ + 1);
  for (const auto& [first, second, of, with] :
       {std::tuple{"Q", "K", &q_, &k_}, {"Q", "V", &q_, &v_}, {"K", "V", &k_, &v_}}) {
    std::vector<double> kl;  // [layers, layers]: the first of one layer with the second of another
    for (const auto& p : *of)
      for (const auto& q : *with) kl.push_back(profile_kl(p, q));
    const auto mean = [&](const auto& partner) {
      double sum = 0;
      for (std::int64_t l = 0; l < layers; ++l) sum += kl[static_cast<std::size_t>(l * layers + partner(l))];
      return sum / static_cast<double>(layers);
    };
    std::vector<double> values{mean([](std::int64_t l) { return l; })};
    for (std::int64_t i = 0; i < permutations_; ++i)
      values.push_back(mean([&](std::int64_t l) {
        const std::int32_t k = others.rows(i)[static_cast<std::size_t>(l)];
        return static_cast<std::int64_t>(k < 0 ? -1 - k : k);
      }));
    if (!std::all_of(values.begin(), values.end(), [](double x) { return std::isfinite(x); })) continue;
    twinning.add(std::string(first) + "||" + second, Side::lower,
                 {Cell(std::string(first)), Cell(std::string(second))}, values);
  }
}

void WeightTables::add_labels() {
  const Table measured = heads.settled();
  std::size_t next = 0;
  for (const auto& mass : mass_) {
    std::vector<std::string> found;
    const double first = mass.size() > 1 ? mass[1] : 0;
    double others = 0, largest = 0;
    for (std::size_t i = 0; i < mass.size(); ++i) {
      largest = std::max(largest, mass[i]);
      if (i != 1) others = std::max(others, mass[i]);
    }
    const Cell layer = measured.rows[next][0], head = measured.rows[next][1];
    for (; next < measured.rows.size() && measured.rows[next][0] == layer && measured.rows[next][1] == head;
         ++next) {
      // layer, head, measure, value, null, null_sd, p, p_family
      const auto& row = measured.rows[next];
      const auto below = [&row](std::size_t column) {
        const auto* p = std::get_if<double>(&row[column]);
        return p != nullptr && *p < kSignificant;
      };
      const auto& measure = std::get<std::string>(row[2]);
      if (measure == "previous_token" && first >= kStandsOut * others && below(6))
        found.emplace_back("previous-token");
      if (measure == "copying" && below(7)) found.emplace_back("copying");
    }
    if (mass.size() > 1 && largest <= kUniform / static_cast<double>(mass.size()))
      found.emplace_back("uniform");
    std::string label;
    for (const std::string& name : found) label += (label.empty() ? "" : " ") + name;
    labels.add({layer, head, Cell(label)});
  }
}

}  // namespace aloft::analysis
