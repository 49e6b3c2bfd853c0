#include <algorithm>

#include "pipeline/recipes/usual_init.hpp"

namespace aloft::recipes {

LayerDesign design_random(Context& ctx, const RecipeInput& in, std::int64_t layer) {
  LayerDesign out;
  out.heads.query = usual_matrix(ctx, in, Part::query, layer);
  out.heads.key = usual_matrix(ctx, in, Part::key, layer);
  out.heads.value = usual_matrix(ctx, in, Part::value, layer);
  out.heads.output = usual_matrix(ctx, in, Part::output, layer);
  return out;
}

LayerDesign design_zero_proj(Context& ctx, const RecipeInput& in, std::int64_t layer) {
  LayerDesign out = design_random(ctx, in, layer);
  std::fill(out.heads.output.begin(), out.heads.output.end(), 0.0F);
  return out;
}

}  // namespace aloft::recipes
