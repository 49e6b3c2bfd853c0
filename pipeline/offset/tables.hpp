#pragma once
#include <vector>

#include "pipeline/offset/residual.hpp"

// What the offset recipe writes beside attention.

namespace aloft::offset {

/// [shape.vocab, d].
[[nodiscard]] std::vector<float> embedding_table(Context& ctx, const OffsetRequest& request,
                                                 const ResidualBudget& budget);
/// [shape.vocab, d], for untied heads.
[[nodiscard]] std::vector<float> head_table(Context& ctx, const OffsetRequest& request,
                                            const ResidualBudget& budget);
/// [shape.context, d], for models with a table of positions.
[[nodiscard]] std::vector<float> position_table(const OffsetRequest& request, const ResidualBudget& budget);
/// Tied heads: gain and bias of the norm before the head.
void write_final_norm(const OffsetRequest& request, const ResidualBudget& budget, HeadWeights& weights);

}  // namespace aloft::offset
