#include "pipeline/recipes/plan_weights.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "pipeline/recipes/layer_memory.hpp"
#include "pipeline/recipes/stream_scale.hpp"

namespace aloft::recipes {
namespace {

/// How many numbers each part has.
struct Numbers {
  std::int64_t query, key, mlp = 0, table, positions, layers;

  Numbers(const ModelShape& s, const PlannedWeights& planned)
      : query(LayerNumbers(s).query),
        key(LayerNumbers(s).key),
        mlp(planned.mlp_outputs == MlpOutputs::none ? 0 : s.d_model * s.mlp_width),
        table(s.vocab * s.d_model),
        positions(s.context * s.d_model),
        layers(s.layers) {}
  [[nodiscard]] std::int64_t heads() const { return 2 * (query + key); }  ///< of a layer
};

/// Embedding, head and positions, as many as there are.
std::int64_t numbers_of_tables(const Numbers& n, const Architecture& arch, const PlannedWeights& planned) {
  if (!planned.embedding) return 0;
  return (planned.head && !arch.tied_head ? 2 : 1) * n.table +
         (planned.positions && !arch.position_embedding.empty() ? n.positions : 0);
}

/// The embedding, and then a head, next to all heads.
void reach_tables(Peak& composing, const Numbers& n, const DesignRequest& design,
                  const PlannedWeights& planned) {
  const bool untied = planned.head && !design.arch.tied_head;
  const Footprint heads = singles(n.layers * n.heads()), rows = doubles(n.table), one = singles(n.table);
  const Footprint before =
      heads + (untied ? one : Footprint{});  // a head is made when the embedding is there
  if (planned.rows_scaled > 0) {
    composing.reach(before + device_doubles(n.table) +
                    device_doubles(planned.rows_scaled + 1, design.shape.d_model + 3) +
                    doubles(planned.rows_scaled, 2));
    composing.reach(before + drawn_singles(n.table));
    if (planned.positions) composing.reach(before + one + drawn_singles(n.positions));
    return;
  }
  composing.reach(before + rows + one);
  if (!planned.drawn_first) return;
  composing.reach(before + drawn(n.table));
  composing.reach(before + drawn_singles(n.table));
  if (planned.head) composing.reach(heads + rows + rows + one);
}

/// MLPs' output projections, when all else is there.
void reach_mlps(Peak& composing, const Numbers& n, Footprint others, MlpOutputs how) {
  if (how == MlpOutputs::silent) composing.reach(others + singles((n.layers + 1) * n.mlp));
  if (how == MlpOutputs::drawn)
    composing.reach(others + singles((n.layers - 1) * n.mlp) + drawn_singles(n.mlp));
}

/// A tensor's rows are put together, for which memory stays, and then turned.
Footprint emit_memory(const Numbers& n, const Architecture& arch) {
  const bool fused = arch.fusion != Architecture::Fusion::separate;
  const std::int64_t together = fused ? n.query + 2 * n.key : n.query;
  return singles(together + std::max({together, n.query, n.mlp}));
}

}  // namespace

Footprint weights_footprint(const DesignRequest& design, const PlannedWeights& planned) {
  const Numbers n(design.shape, planned);
  return singles(n.layers * (n.heads() + n.mlp) + numbers_of_tables(n, design.arch, planned));
}

void plan_weights(const PlanRequest& request, const PlannedWeights& planned, LayerMemory layer,
                  Footprint held, Peak composing) {
  const DesignRequest& design = request.design;
  const Numbers n(design.shape, planned);
  const std::int64_t tables = numbers_of_tables(n, design.arch, planned);
  composing.reach(singles((n.layers - 1) * n.heads()), layer(*request.backend.linear, design.shape));
  if (planned.embedding) reach_tables(composing, n, design, planned);
  reach_mlps(composing, n, singles(n.layers * n.heads() + tables), planned.mlp_outputs);
  composing.reach(weights_footprint(design, planned));
  const double c = stream_scale(design);
  request.rows.row(kCompose, held, composing, 0, c != 1 ? fmt::format("stream times {:.4g}", c) : "");

  Peak emitting;
  emitting.reach(weights_footprint(design, planned) + emit_memory(n, design.arch));
  const auto emitted = static_cast<std::uint64_t>(n.layers * (n.heads() + n.mlp) + tables);
  request.rows.row(kEmit, held, emitting,
                   emitted * dtype_bytes(request.dtype) + (request.save_heads ? emitted * sizeof(float) : 0));
}

PlannedWeights scaled_tables(const DesignRequest& design) {
  const bool scaled = stream_scale(design) != 1;
  return {.embedding = scaled, .positions = scaled, .drawn_first = scaled};
}

void plan_attention(const PlanRequest& request, LayerMemory layer) {
  check_stream_scale(request.design);
  plan_weights(request, scaled_tables(request.design), layer, {}, {});
}

}  // namespace aloft::recipes
