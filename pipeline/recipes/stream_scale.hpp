#pragma once
#include "pipeline/recipes/recipe.hpp"

// How large the residual stream is. A model whose blocks and head read it through a norm computes the same
// when all that is written to it is multiplied by c. What c changes is training: an optimiser's step writes
// as much into a large stream as into a small one, where it is worth more (science: section 5.4).

namespace aloft::recipes {

/// c: what the request says, else the recipe's own; 1 is the usual init's, and that of rows of unit length.
[[nodiscard]] double stream_scale(const DesignRequest& request);

/// What lets a stream whose coordinates have this root mean square at scale 1 stand an optimiser's first
/// steps: a step of kFirstStep on all MLPs' output projections then moves a coordinate by kStandable of its
/// size at most; never below 1, nor so large that coordinates exceed kLargestCoordinate, beyond which nothing
/// was tried.
[[nodiscard]] double standing_scale(const DesignRequest& request, double rms);
inline constexpr double kFirstStep = 1e-3, kStandable = 0.5, kLargestCoordinate = 4;

/// Throws UsageError where the file cannot carry a scale other than 1: no token embedding in it, a vocabulary
/// that is not known, a tied head whose final norm the architecture does not name.
void check_stream_scale(const DesignRequest& request);

/// For recipes that write attention, and perhaps an embedding: multiplies the embedding (the usual one, where
/// there is none yet), the table of positions and, where the recipe designs them, the heads' outputs by c; a
/// tied model's final gain becomes 1/c. Nothing for c = 1.
void scale_stream(Context& ctx, const DesignRequest& request, HeadWeights& weights);

}  // namespace aloft::recipes
