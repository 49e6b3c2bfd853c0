#include "pipeline/analysis/claims.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace aloft::analysis {
namespace {

/// The cell of a column; nothing where the table has no such column.
Cell cell_of(const Table& table, std::size_t row, const std::string& column) {
  for (std::size_t c = 0; c < table.columns.size(); ++c)
    if (table.columns[c].name == column) return table.rows[row][c];
  return {};
}

/// "QK forward matrix_cosine": the row's texts, in the order of its columns.
std::string detail_of(const Table& table, std::size_t row) {
  std::string out;
  for (const Cell& c : table.rows[row])
    if (const auto* text = std::get_if<std::string>(&c)) out += (out.empty() ? "" : " ") + *text;
  return out;
}

using SettledTables = std::map<const MeasurementTable*, Table>;

const Table& settled_table(SettledTables& settled, const MeasurementTable& of) {
  const auto known = settled.find(&of);
  return known != settled.end() ? known->second : settled.emplace(&of, of.settled()).first->second;
}

struct Claim {
  const char* name;
  const MeasurementTable* from;
  const char* families;    ///< whose names begin so
  Side side = Side::both;  ///< of the null on which a figure bears it out
};

}  // namespace

Table claims_table(const ClaimSources& s) {
  const Claim claims[] = {
      {"asymmetry_differs", &s.weights, "layers/QK/asymmetry_ratio"},
      {"asymmetry_is_concentrated", &s.weights, "layers/QK_antisymmetric/pr_energy", Side::lower},
      {"eigenvalues_differ", &s.weights, "layers/QK/real_share"},
      {"values_differ_from_random", &s.profiles, "V/MP"},
      {"query_key_twinning", &s.twinning, "Q||K"},
      {"spectra_match_corpus", &s.match, "QK/layers/spectral_cosine/antisymmetric", Side::upper},
      {"qk_follows_corpus", &s.match, "QK/layers/matrix_cosine"},
      {"qk_subspace_follows_corpus", &s.match, "QK/layers/subspace_overlap", Side::upper},
      {"qk_heads_follow_corpus", &s.match, "QK/heads/matrix_cosine"},
      {"ov_follows_corpus", &s.match, "OV/layers/matrix_cosine"},
      {"ov_subspace_follows_corpus", &s.match, "OV/layers/subspace_overlap", Side::upper},
      {"ov_heads_follow_corpus", &s.match, "OV/heads/matrix_cosine"},
      {"weights_correlate", &s.correlations, "weights"},
      {"circuits_correlate", &s.correlations, "circuits"},
      {"bands_differ", &s.bands, "bands"},

      {"copying_heads", &s.heads, "copying", Side::upper},
      {"weights_correlate_between_models", &s.drift, "correlation/"},
      {"circuits_correlate_between_models", &s.drift, "token_correlation/"},
  };
  Table out{"claims",
            "for each kind of effect the row that is furthest from its null, on the side that would show it; "
            "found: its p is below 0.01",
            {{"claim", "what it would show"},
             {"layer", "of that row"},
             {"head", "of that row"},
             {"lag", "of that row"},
             {"detail", "what was compared"},
             {"value", "as measured"},
             {"null", "mean of its null"},
             {"p", "of the furthest of all rows of this kind"},
             {"found", "1: an effect"}},
            {}};
  SettledTables settled;
  for (const Claim& claim : claims) {
    const auto [row, p] = claim.from->furthest(claim.families, claim.side);
    if (std::isnan(p)) continue;
    const Table& table = settled_table(settled, *claim.from);
    out.add({Cell(std::string(claim.name)), cell_of(table, row, "layer"), cell_of(table, row, "head"),
             cell_of(table, row, "lag"), Cell(detail_of(table, row)), cell_of(table, row, "value"),
             cell_of(table, row, "null"), number(p), Cell(std::int64_t{p < kSignificant ? 1 : 0})});
  }
  return out;
}

}  // namespace aloft::analysis
