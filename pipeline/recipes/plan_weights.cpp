#include "pipeline/recipes/plan_weights.hpp"

#include <algorithm>

namespace aloft::recipes {
namespace {

constexpr std::uint64_t kReal = sizeof(double);

/// How many numbers each part has.
struct Numbers {
  std::uint64_t heads = 0, mlps = 0, table = 0, positions = 0, layers = 1;

  Numbers(const ModelShape& s, const PlannedWeights& planned)
      : heads(static_cast<std::uint64_t>(s.layers * 2 * (s.heads + s.kv_heads) * s.head_dim * s.d_model)),
        mlps(planned.mlp_outputs ? static_cast<std::uint64_t>(s.layers * s.d_model * s.mlp_width) : 0),
        table(static_cast<std::uint64_t>(s.vocab * s.d_model)),
        positions(static_cast<std::uint64_t>(s.context * s.d_model)),
        layers(static_cast<std::uint64_t>(s.layers)) {}
  [[nodiscard]] std::uint64_t largest_matrix() const { return std::max(heads, mlps) / layers; }
};

}  // namespace

Footprint weights_footprint(const DesignRequest& design, const PlannedWeights& planned) {
  const Numbers n(design.shape, planned);
  const bool untied = planned.head_or_positions && !design.arch.tied_head;
  const std::uint64_t tables = !planned.embedding ? 0 : untied ? 2 * n.table : n.table;
  return on_host((n.heads + n.mlps + tables) * sizeof(float));
}

void plan_weights(const PlanRequest& request, const PlannedWeights& planned, Footprint held, Peak composing) {
  const ModelShape& s = request.design.shape;
  const Numbers n(s, planned);
  const Footprint numbers = on_host((n.heads + n.mlps) * sizeof(float)),
                  weights = weights_footprint(request.design, planned),
                  matrices = on_host(2 * n.largest_matrix() * kReal);
  composing.reach(numbers + on_device(matrices.host) + matrices);
  if (planned.embedding) {
    const std::uint64_t rows = n.table * kReal;
    const Footprint single = on_host(n.table * sizeof(float));  // the embedding, while a head is made
    if (planned.drawn_first)
      composing.reach(numbers + (planned.head_or_positions ? single : Footprint{}) + on_device(rows) +
                      on_host(rows));
    if (planned.drawn_first && planned.head_or_positions)
      composing.reach(numbers + on_host(2 * rows) + single);
    composing.reach(weights + on_host(rows + matrix_bytes(planned.rows_downloaded, s.d_model)));
  }
  request.rows.row(kCompose, held, composing, 0);

  Peak emitting;
  emitting.reach(weights + matrices);  // a tensor put together
  const std::uint64_t emitted = n.heads + n.mlps + (planned.embedding ? n.table : 0) +
                                (planned.head_or_positions ? n.table + n.positions : 0);
  request.rows.row(kEmit, held, emitting,
                   emitted * dtype_bytes(request.dtype) + (request.save_heads ? emitted * sizeof(float) : 0));
}

void plan_attention(const PlanRequest& request) { plan_weights(request, {}, {}, {}); }

}  // namespace aloft::recipes
