#include <algorithm>

#include "pipeline/recipes/mlp_outputs.hpp"
#include "pipeline/recipes/plan_weights.hpp"
#include "pipeline/recipes/recipe.hpp"

// `random` is what everybody uses; `zero-proj` the same with silent output projections.

namespace aloft::recipes {

LayerDesign design_random(Context& ctx, const RecipeInput& in, std::int64_t layer) {
  LayerDesign out;
  out.heads.query = usual_matrix(ctx, in.params, in.shape, Part::query, layer);
  out.heads.key = usual_matrix(ctx, in.params, in.shape, Part::key, layer);
  out.heads.value = usual_matrix(ctx, in.params, in.shape, Part::value, layer);
  out.heads.output = usual_matrix(ctx, in.params, in.shape, Part::output, layer);
  return out;
}

LayerDesign design_zero_proj(Context& ctx, const RecipeInput& in, std::int64_t layer) {
  LayerDesign out = design_random(ctx, in, layer);
  std::fill(out.heads.output.begin(), out.heads.output.end(), 0.0F);
  return out;
}

namespace {

Design design_silent(DesignRun& run, const DesignRequest& request, Keyed<Counts>* none) {
  Design out = design_layers<design_zero_proj>(run, request, none);
  write_silent_mlp_outputs(run, request, out.composition.weights);
  return out;
}

}  // namespace

Recipe random_recipe() {
  return {.name = "random",
          .summary = "GPT-2's init: independent normal weights",
          .stages = {kCompose, kEmit},
          .plan = plan_attention,
          .design = design_layers<design_random>};
}

Recipe zero_proj_recipe() {
  return {.name = "zero-proj",
          .summary = "random with output projections at zero",
          .stages = {kCompose, kEmit},
          .plan = [](const PlanRequest& request) { plan_weights(request, {.mlp_outputs = true}, {}, {}); },
          .design = design_silent};
}

}  // namespace aloft::recipes
