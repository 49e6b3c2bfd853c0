#pragma once
#include <cstdint>
#include <vector>

#include "pipeline/analysis/corpus_views.hpp"
#include "pipeline/analysis/measurement_table.hpp"
#include "pipeline/analysis/permutations.hpp"
#include "pipeline/analysis/weight_figures.hpp"

// Table `match`: attention kernels against the corpus' transitions at every lag.

namespace aloft::analysis {

/// Transitions of every lag as the match needs them; item 2n is lag n + 1 plain, item 2n + 1 centred.
struct LagSide {
  std::int64_t lags = 0, d = 0;
  Matrix parts;  ///< [4·lags][d, d]: of item i, symmetric at 2i and antisymmetric at 2i + 1
  std::vector<ConjugationStats> stats;  ///< [4·lags] of the parts
  std::vector<double> sigma;            ///< [2·lags][d]
  std::vector<double> planes;           ///< [2·lags][d/2] of the antisymmetric parts
  TopSubspaces top;                     ///< [2·lags][k, d]; empty where k = 0
};
/// k: rows of the subspaces that are compared; 0: none are.
[[nodiscard]] LagSide lag_side(Context& ctx, const Transitions& t, std::int64_t k);

/// Directions of a kernel that are compared: 8, or as many as a head has.
[[nodiscard]] std::int64_t overlap_rows(const ModelShape& shape);

/// What QK and OV are compared with, and the same of shuffled text: of as many lags, or of one for all.
struct MatchSides {
  LagSide qk, shuffled_qk;
  LagSide ov, shuffled_ov;  ///< empty where the head is tied: then those of qk
  bool tied = true;
  [[nodiscard]] const LagSide& of_ov() const { return tied ? qk : ov; }
  [[nodiscard]] const LagSide& of_shuffled_ov() const { return tied ? shuffled_qk : shuffled_ov; }
};

/// A group of layers, with what was measured of it already.
struct MeasuredGroup {
  std::int64_t first_layer = 0;
  const LayerGroup& weights;
  const GroupMeasures& measures;
};

/// Adds the rows of these layers and their heads. draws: measures of Gaussian layers.
void match_group(Context& ctx, const ModelShape& shape, const MatchSides& sides, const MeasuredGroup& group,
                 const std::vector<GroupMeasures>& draws, std::int64_t layers,
                 const Permutations& permutations, MeasurementTable& out);
[[nodiscard]] MeasurementTable match_table();

}  // namespace aloft::analysis
