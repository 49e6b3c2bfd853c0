#pragma once
#include <cstdint>
#include <optional>

#include "pipeline/analysis/corpus_views.hpp"
#include "pipeline/analysis/match.hpp"
#include "pipeline/analysis/measurement_table.hpp"
#include "pipeline/analysis/permutations.hpp"

// Table `drift`: one checkpoint's layers against another's.

namespace aloft::analysis {

/// Both models' tokens, weighted by √p and centred, as Gram matrices: F_aᵀ F_b, F = diag(√p)(E − 1 pᵀE).
struct TokenGrams {
  Matrix embedding;           ///< of the two embeddings: first's [d, d'] second's
  Matrix head;                ///< of the two heads
  Matrix first_e, first_u;    ///< of the first model with itself: E, U
  Matrix second_e, second_u;  ///< of the second
};
[[nodiscard]] TokenGrams token_grams(Context& ctx, const TokenRows& first, const TokenRows& second,
                                     const std::vector<double>& p);

/// Adds the rows of these layers. grams: empty where the two have different vocabularies.
void drift_group(Context& ctx, const ModelShape& shape, const MeasuredGroup& group, const LayerGroup& second,
                 const TokenGrams* grams, const Permutations& permutations, MeasurementTable& out);
[[nodiscard]] MeasurementTable drift_table();

}  // namespace aloft::analysis
