#pragma once
#include "pipeline/recipes/recipe.hpp"

// Each recipe says of itself what it is, in the file of its name; registry.cpp lists them.

namespace aloft::recipes {

[[nodiscard]] Recipe offset_recipe();  // offset.cpp, with the parts of it
[[nodiscard]] Recipe bigram_head_recipe();
[[nodiscard]] Recipe embedding_recipe();
[[nodiscard]] Recipe unigram_recipe();
[[nodiscard]] Recipe induction_recipe();
[[nodiscard]] Recipe spread_recipe();  // spread.cpp
[[nodiscard]] Recipe asymmetry_recipe();
[[nodiscard]] Recipe random_recipe();  // random.cpp
[[nodiscard]] Recipe zero_proj_recipe();
[[nodiscard]] Recipe orthogonal_recipe();  // orthogonal.cpp
[[nodiscard]] Recipe mimetic_recipe();     // mimetic.cpp
[[nodiscard]] Recipe invariants_recipe();  // invariants.cpp

/// spread: lag of each layer where nobody says otherwise: layer l takes lag l + 1, the last lag repeats.
[[nodiscard]] std::vector<std::int32_t> default_layer_lags(std::int64_t layers, std::int32_t lags);

}  // namespace aloft::recipes
