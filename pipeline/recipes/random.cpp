#include <algorithm>

#include "pipeline/recipes/layer_memory.hpp"
#include "pipeline/recipes/mlp_outputs.hpp"
#include "pipeline/recipes/plan_weights.hpp"
#include "pipeline/recipes/stream_scale.hpp"

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

// The last of them is drawn while the others wait.
Peak random_memory(const LinearOps&, const ModelShape& shape) {
  const LayerNumbers n(shape);
  Peak out;
  out.reach(singles(n.query + 2 * n.key) + drawn_singles(n.query));
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
          .plan = plan_layers<random_memory>,
          .design = design_layers<design_random>};
}

Recipe zero_proj_recipe() {
  return {.name = "zero-proj",
          .summary = "random with output projections at zero",
          .stages = {kCompose, kEmit},
          .plan =
              [](const PlanRequest& r) {
                check_stream_scale(r.design);
                PlannedWeights planned = scaled_tables(r.design);
                planned.mlp_outputs = silent_mlp_outputs(r.design);
                plan_weights(r, planned, random_memory, {}, {});
              },
          .design = design_silent};
}

}  // namespace aloft::recipes
