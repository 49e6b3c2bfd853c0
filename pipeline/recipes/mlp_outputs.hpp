#pragma once
#include <cstdint>
#include <vector>

#include "pipeline/recipes/recipe.hpp"

// A wide or deep model's MLPs at their usual init add more to the residual stream than a designed embedding
// and designed heads do (SwiGLU at a width of 4096: a hundred times their length, each layer), and the head
// takes it for evidence.

namespace aloft::recipes {

/// What an MLP's output projection reads.
enum class Hidden { gelu, gated, relu2 };
[[nodiscard]] Hidden hidden_of(const Architecture& arch);

/// What all MLPs add to the residual stream, in squared norm, at the usual init and for inputs of length √d:
/// layers · d · width · std_out² · E h², h = gelu(z), relu(z)² or, gated, silu(z) u with z, u normal of
/// variance d · std². Their weights are independent and so are what they add.
[[nodiscard]] double mlp_added2(const UsualInit& p, const ModelShape& shape, Hidden hidden,
                                std::int64_t width);

/// What a step of size 1 on every weight of all MLPs' output projections adds to a coordinate of the stream
/// when all steps agree: layers · width · E|h|, h as above.
[[nodiscard]] double mlp_moved(const UsualInit& p, const ModelShape& shape, Hidden hidden,
                               std::int64_t width);

/// Output projections, [layers] of [d, mlp_width], that let all MLPs add `allowed2` in all: normal numbers.
/// Empty where the usual init adds no more than that, and where the width is not known.
[[nodiscard]] std::vector<std::vector<float>> bounded_mlp_outputs(Context& ctx, const UsualInit& p,
                                                                  const ModelShape& shape, Hidden hidden,
                                                                  double allowed2);

/// Whether, and how, a recipe writes these projections.
enum class MlpOutputs { none, silent, drawn };
[[nodiscard]] MlpOutputs silent_mlp_outputs(const DesignRequest& request);
[[nodiscard]] MlpOutputs bounded_mlp_outputs(const DesignRequest& request, double allowed2);

/// Zeros for all of them; a note where the architecture does not say what to write.
void write_silent_mlp_outputs(DesignRun& run, const DesignRequest& request, HeadWeights& weights);
/// Smaller than the usual ones where those would add more than `allowed2`; a note where they would, and the
/// architecture does not say what to write.
void write_bounded_mlp_outputs(DesignRun& run, const DesignRequest& request, double allowed2,
                               HeadWeights& weights);

}  // namespace aloft::recipes
