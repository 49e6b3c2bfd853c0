#pragma once
#include <string>

#include "pipeline/offset/offset.hpp"
#include "pipeline/recipes/recipe.hpp"

namespace aloft::recipes {

/// Where the recipe is placed in this model. Throws UsageError for models that cannot host it.
[[nodiscard]] OffsetLayout layout_of(const DesignRequest& request);

/// The counts that `control` designs from: of as many tokens drawn from the unigram (within the memory of
/// `limits`), or with source and target exchanged.
[[nodiscard]] Counts controlled_counts(Context& ctx, const Counts& counts, Control control,
                                       std::uint64_t seed, const CountParams& limits);

/// offset.json: the scalars and what chose them, where every lag is and how sharply it looks, losses beside
/// the unigram's.
[[nodiscard]] std::string offset_report_json(const DesignRequest& request, const OffsetLayout& layout,
                                             const LagFactors& factors,
                                             const std::vector<LayerComposition>& layers);

}  // namespace aloft::recipes
