#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/analysis/permutation_moments.hpp"
#include "pipeline/analysis/position_profile.hpp"
#include "pipeline/analysis/table.hpp"
#include "pipeline/base/context.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/model/architecture.hpp"

// The page to begin with for `aloft analyze`: a checkpoint and a corpus' counts in, tables out. What every
// table holds, and against which null: docs/analysis.md.
//
// layer_group.hpp: weights of some layers on the device; kernel_spectra.hpp: spectra of products;
// weight_figures.hpp: what weights say by themselves; corpus_views.hpp: the corpus in the model's
// coordinates; match.hpp, correlations.hpp, drift.hpp: the one against the other; permutations.hpp and
// significance.hpp: nulls; measurement_table.hpp: rows of a table, with their p; claims.hpp: what of it is an
// effect.

namespace aloft::analysis {

/// One layer of a checkpoint, in the canonical form.
struct ModelLayer {
  LayerHeads heads;
  LayerBias bias;
};

/// A trained model as the analysis reads it: token rows at once, layers when their turn comes.
struct Model {
  Architecture architecture;
  ModelShape shape;
  std::vector<float> embedding;  ///< [shape.vocab, d]
  std::vector<float> head;       ///< the same; empty: tied
  std::vector<float> positions;  ///< [context, d] where they are learned
  std::function<ModelLayer(std::int64_t)> layer;
};

inline constexpr std::int64_t kDraws = 20, kDrawsOfWide = 10;  ///< by default; wide: above kWidestPermuted

struct AnalysisParams {
  std::int64_t permutations = 200;
  std::int64_t draws = kDraws;             ///< of Gaussian layers
  std::uint64_t null_tokens = 10'000'000;  ///< of shuffled text, at most
  std::uint64_t seed = 0;
  std::int64_t widest_permuted = kWidestPermuted;  ///< nulls of wider models are by formula
};

struct Analysis {
  std::vector<Table> tables;
  std::uint64_t shuffled_tokens = 0;
};

/// counts: of the corpus in the model's ids; null: none. second: a model of the same shape; null: none.
/// Throws InputError where shapes do not fit each other.
[[nodiscard]] Analysis analyze(Context& ctx, const Model& model, const Model* second, const Counts* counts,
                               const AnalysisParams& params);

/// Bytes that analyze() takes at most, its arguments not included. counts: null where there are none.
[[nodiscard]] Peak analysis_memory(const LinearOps& ops, const ModelShape& shape, bool tied, bool with_second,
                                   const CountsShape* counts);
/// Layers that are measured at a time.
[[nodiscard]] std::int64_t layers_at_a_time(const ModelShape& shape);

}  // namespace aloft::analysis
