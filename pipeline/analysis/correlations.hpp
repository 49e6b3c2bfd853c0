#pragma once
#include <cstdint>

#include "pipeline/analysis/corpus_views.hpp"
#include "pipeline/analysis/match.hpp"
#include "pipeline/analysis/measurement_table.hpp"
#include "pipeline/analysis/permutations.hpp"

// Tables `correlations` and `bands`: weights element by element against views of the corpus' pairs.

namespace aloft::analysis {

/// What all layers are correlated with.
struct CorrelationSetup {
  const PairViews& views;
  const AttendedPairs& attended;
  Matrix bands;                              ///< [4][d, d]: projections on bands of the eigenbasis
  std::vector<ConjugationStats> band_stats;  ///< [4]
  Matrix turned_ones;                        ///< [d, d]: ⟨X, this⟩ is the sum of the elements of BᵀXB
  std::vector<std::pair<std::int64_t, std::int64_t>> limits;  ///< [4] from, to
};
[[nodiscard]] CorrelationSetup correlation_setup(Context& ctx, const PairViews& views,
                                                 const AttendedPairs& attended);

/// Adds the rows of these layers.
void correlate_group(Context& ctx, const ModelShape& shape, const CorrelationSetup& setup,
                     const MeasuredGroup& group, const Permutations& permutations,
                     MeasurementTable& correlations, MeasurementTable& bands);
[[nodiscard]] MeasurementTable correlation_table();
[[nodiscard]] MeasurementTable band_table();

}  // namespace aloft::analysis
