#include <algorithm>
#include <cmath>

#include "pipeline/recipes/haar.hpp"
#include "pipeline/recipes/layer_memory.hpp"
#include "pipeline/recipes/recipe.hpp"

// Every projection a (semi-)orthogonal matrix over all its heads (Saxe et al., "Exact solutions to the
// nonlinear dynamics of learning in deep linear neural networks", 2014), at the Frobenius norm the usual init
// has on average.

namespace aloft::recipes {
namespace {

/// [rows, cols]: orthonormal rows or columns, whichever are fewer, times stddev·√max(rows, cols); that is the
/// norm stddev·√(rows·cols).
std::vector<float> semi_orthogonal(Context& ctx, std::int64_t rows, std::int64_t cols, std::uint64_t seed,
                                   std::uint64_t stream, double stddev) {
  const std::int64_t tall = std::max(rows, cols), thin = std::min(rows, cols);
  const std::vector<double> q = to_host(haar_columns(ctx, tall, thin, seed, stream).data);
  const double scale = stddev * std::sqrt(static_cast<double>(tall));
  std::vector<float> out(q.size());
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < cols; ++j)
      out[i * cols + j] = static_cast<float>(scale * (rows >= cols ? q[i * thin + j] : q[j * thin + i]));
  return out;
}

}  // namespace

LayerDesign design_orthogonal(Context& ctx, const RecipeInput& in, std::int64_t layer) {
  const ModelShape& s = in.shape;
  const auto matrix = [&](std::int64_t heads, std::int64_t number, double stddev) {
    return semi_orthogonal(ctx, heads * s.head_dim, s.d_model, in.params.seed,
                           stream_of(Part::orthogonal, layer, number), stddev);
  };
  LayerDesign out;
  out.heads.query = matrix(s.heads, 0, query_std(in.params, s));
  out.heads.key = matrix(s.kv_heads, 1, in.params.init_std);
  out.heads.value = matrix(s.kv_heads, 2, in.params.init_std);
  out.heads.output = matrix(s.heads, 3, output_std(in.params, s));
  return out;
}

// The last of them is drawn while the others wait.
Peak orthogonal_memory(const LinearOps& ops, const ModelShape& shape) {
  const LayerNumbers n(shape);
  const auto turned = [&](std::int64_t heads) {
    const std::int64_t rows = heads * shape.head_dim, d = shape.d_model;
    return ops.orthonormalize_scratch(std::max(rows, d), std::min(rows, d), 1);
  };
  Peak out;
  out.reach(singles(n.query) + device_doubles(n.key) + turned(shape.kv_heads));
  out.reach(singles(n.query + 2 * n.key) + device_doubles(n.query) + turned(shape.heads));
  out.reach(singles(n.query + 2 * n.key) + drawn(n.query));
  return out;
}

Recipe orthogonal_recipe() {
  return {.name = "orthogonal",
          .summary = "orthogonal projections at the usual norm",
          .stages = {kCompose, kEmit},
          .plan = plan_layers<orthogonal_memory>,
          .design = design_layers<design_orthogonal>,
          .designs_outputs = true};
}

}  // namespace aloft::recipes
