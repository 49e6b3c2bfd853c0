#pragma once
#include <cstdint>
#include <vector>

#include "pipeline/recipes/usual_init.hpp"

// A wide or deep model's MLPs at their usual init add more to the residual stream than a designed embedding
// and designed heads do (SwiGLU at a width of 4096: a hundred times their length, each layer), and the head
// takes it for evidence.

namespace aloft::recipes {

/// What all MLPs add to the residual stream, in squared norm, at the usual init and for inputs of length √d:
/// layers · d · width · std_out² · E h², h = gelu(z) or, gated, silu(z) u with z, u normal of variance
/// d · std². Their weights are independent and so are what they add.
[[nodiscard]] double mlp_added2(const ComposeParams& p, const ModelShape& shape, bool gated,
                                std::int64_t width);

/// Output projections, [layers] of [d, mlp_width], that let all MLPs add `allowed2` in all: normal numbers.
/// Empty where the usual init adds no more than that, and where the width is not known.
[[nodiscard]] std::vector<std::vector<float>> bounded_mlp_outputs(Context& ctx, const ComposeParams& p,
                                                                  const ModelShape& shape, bool gated,
                                                                  double allowed2);

}  // namespace aloft::recipes
