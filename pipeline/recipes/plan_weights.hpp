#pragma once
#include "pipeline/recipes/mlp_outputs.hpp"
#include "pipeline/recipes/recipe.hpp"

namespace aloft::recipes {

/// Which tensors a recipe writes beside attention, for the plan.
struct PlannedWeights {
  bool embedding = false;
  bool head = false;       ///< where it is not tied
  bool positions = false;  ///< where there is a table of them
  MlpOutputs mlp_outputs = MlpOutputs::none;
  bool drawn_first = false;      ///< the embedding starts as the usual random table
  std::int64_t rows_scaled = 0;  ///< of E, at a time, where the embedding is made of it on the device
};

/// What a recipe that writes attention alone writes beside it where the stream is scaled.
[[nodiscard]] PlannedWeights scaled_tables(const DesignRequest& design);

/// What all of it takes while it waits to be written.
[[nodiscard]] Footprint weights_footprint(const DesignRequest& design, const PlannedWeights& planned);
/// The rows of kCompose and kEmit. layer: what a layer takes; held: from earlier stages; composing: what the
/// recipe takes beside that before the first layer.
void plan_weights(const PlanRequest& request, const PlannedWeights& planned, LayerMemory layer,
                  Footprint held, Peak composing);

}  // namespace aloft::recipes
