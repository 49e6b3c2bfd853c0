#pragma once
#include "pipeline/offset/factors.hpp"
#include "pipeline/offset/layout.hpp"
#include "pipeline/offset/matching.hpp"
#include "pipeline/recipes/recipe.hpp"

namespace aloft::recipes {

/// Members of the family: which parts of the offset recipe a model gets. The rest has the usual init.
enum class OffsetPart {
  all,        ///< offset: embedding, head, and attention that carries every lag
  lag_one,    ///< bigram-head: embedding, head, and lag 1 alone
  embedding,  ///< embedding: no designed attention
  induction,  ///< bigram-head, and a pair of heads that repeat what followed the token before (experimental)
  unigram,    ///< log p through the constant coordinate (tied: its own), nothing else
};

/// Squared norm that what is not designed may add until the final norm: what the recipe reckons with, and
/// what MLPs are bounded to.
inline constexpr double kRandomPart2 = 0.2;

/// Attention, embedding, output head, norm and position table as the architecture has them (science:
/// section 5.4, "placement"). factors: unused for unigram but for its bias; matching: for induction.
[[nodiscard]] Composition design_offset(Context& ctx, const ComposeParams& params, const OffsetParams& offset,
                                        OffsetPart part, const Architecture& arch, const ModelShape& shape,
                                        const OffsetLayout& layout, const LagFactors& factors,
                                        const Matching& matching = {});

}  // namespace aloft::recipes
