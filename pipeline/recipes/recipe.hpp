#pragma once
#include <cstdint>

#include "pipeline/context.hpp"
#include "pipeline/stages.hpp"
#include "pipeline/values.hpp"

// A recipe is one function: layer number in, that layer's heads out. It keeps no state, so layers can be
// designed in any order and layer l is the same in a model of any depth (W_O's 1/√(2·layers) apart).

namespace aloft::recipes {

struct RecipeInput {
  const ComposeParams& params;
  const ModelShape& shape;
  const ExpandedSpectra* expanded = nullptr;  ///< null for recipes that read no corpus
};

struct LayerDesign {
  LayerHeads heads;
  LayerComposition figures;
};

[[nodiscard]] LayerDesign design_random(Context& ctx, const RecipeInput& in, std::int64_t layer);
[[nodiscard]] LayerDesign design_zero_proj(Context& ctx, const RecipeInput& in, std::int64_t layer);
[[nodiscard]] LayerDesign design_injection(Context& ctx, const RecipeInput& in, std::int64_t layer);
[[nodiscard]] LayerDesign design_invariants(Context& ctx, const RecipeInput& in, std::int64_t layer);
[[nodiscard]] LayerDesign design_mimetic(Context& ctx, const RecipeInput& in, std::int64_t layer);
[[nodiscard]] LayerDesign design_orthogonal(Context& ctx, const RecipeInput& in, std::int64_t layer);

}  // namespace aloft::recipes
