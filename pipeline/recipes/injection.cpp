#include <cmath>
#include <span>
#include <utility>

#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/recipes/layer_memory.hpp"
#include "pipeline/recipes/recipe.hpp"

// `asymmetry` and `spread`: the antisymmetric target A of a layer (expand.cpp chose lag and spectrum) becomes
// the layer's attention kernel, M = Σ_h W_Q,hᵀ W_K,g(h) = c·A, plus the usual random part. Source: the paper
// "asymmetry injection"; the dealing of planes to heads and rotary pairs is ours.
//
// A plane σ(l rᵀ − r lᵀ) takes two rows of a key head, √σ r and √σ l, and the same rows of one query head,
// ±√σ l and ∓√σ r. The two rows are one rotary pair: at relative angle φ the plane contributes cos φ (l rᵀ −
// r lᵀ) + sin φ (l lᵀ + r rᵀ), so the strongest planes go to the pairs that turn least.

namespace aloft::recipes {
namespace {

using RowPair = std::pair<std::int64_t, std::int64_t>;

/// The row pairs of one head from the least to the most rotated: rows beyond the rotary part in twos, then
/// rotary pairs (i, i + r/2) from the slowest frequency (largest i). An odd row stays unused.
std::vector<RowPair> row_pairs(const ModelShape& shape) {
  const std::int64_t r = shape.rotary_dim;
  std::vector<RowPair> pairs;
  for (std::int64_t row = r; row + 1 < shape.head_dim; row += 2) pairs.emplace_back(row, row + 1);
  for (std::int64_t i = r / 2; i-- > 0;) pairs.emplace_back(i, i + r / 2);
  return pairs;
}

/// Rows for queries and keys of one layer: √(scale σ) l and √(scale σ) r of every plane, and one of zeros;
/// [2m + 1, d], m planes.
Matrix directions_of(Context& ctx, const SkewPlanes& planes, std::int64_t layer, double scale) {
  const std::int64_t m = planes.left.rows;
  std::vector<double> roots = host_vector(2 * m + 1);
  for (std::int64_t p = 0; p < m; ++p)
    at(roots, p) = at(roots, m + p) = std::sqrt(scale * at(planes.sigma, layer * m + p));
  const Buffer<double> weights = to_device(ctx.device(), std::span(roots));
  Matrix out(ctx.device(), 2 * m + 1, planes.left.cols);
  copy(ctx.device(), planes.left.view().item(layer), out.view().row_block(0, m));
  copy(ctx.device(), planes.right.view().item(layer), out.view().row_block(m, m));
  zero(ctx.device(), out.view().row_block(2 * m, 1));
  ctx.linear().scale(out.view(), weights.data(), nullptr);
  return out;
}

/// W_Q or W_K: noise × the usual random part, plus for every row the direction that `rows` names, a
/// signed_index().
std::vector<float> injected(Context& ctx, const RecipeInput& in, Part part, std::int64_t layer,
                            const Matrix& directions, const std::vector<std::int32_t>& rows) {
  const auto n = static_cast<std::int64_t>(rows.size());
  const double stddev =
      in.params.noise * (part == Part::query ? query_std(in.params, in.shape) : in.params.init_std);
  const Buffer<std::int32_t> indices = to_device(ctx.device(), std::span(rows));
  Matrix out(ctx.device(), n, directions.cols);
  ctx.linear().permute(directions.view(), indices.data(), nullptr, out.view());
  if (stddev != 0) {
    Matrix drawn(ctx.device(), n, directions.cols);
    ctx.linear().fill_normal(drawn.view(), in.params.seed, stream_of(part, layer), stddev);
    ctx.linear().add_scaled(1, drawn.view(), out.view());
  }
  return floats_to_host(ctx, out.view());
}

}  // namespace

LayerDesign design_injection(Context& ctx, const RecipeInput& in, std::int64_t layer) {
  const ModelShape& s = in.shape;
  const std::int64_t d = s.d_model, m = d / 2, per_group = s.heads / s.kv_heads;
  const SkewPlanes& planes = in.expanded->planes;
  expects(planes.sigma.size() == static_cast<std::size_t>(s.layers * m) && planes.left.cols == d,
          "one item of d/2 planes per layer");
  const std::vector<RowPair> pairs = row_pairs(s);
  const std::int64_t room = s.kv_heads * static_cast<std::int64_t>(pairs.size());

  double norm2 = 0, dropped2 = 0;  // each plane holds two equal singular values
  for (std::int64_t p = 0; p < m; ++p) {
    const double sigma = at(planes.sigma, layer * m + p);
    norm2 += 2 * sigma * sigma;
    if (p >= room) dropped2 += 2 * sigma * sigma;
  }
  LayerDesign out;
  const bool flipped = in.params.sign != Sign::paper;
  if (norm2 > 0) {
    out.figures.kernel_norm = in.params.strength * usual_kernel_norm(in.params, s);
    out.figures.scale = (flipped ? -1 : 1) * out.figures.kernel_norm / std::sqrt(norm2);
    out.figures.truncation_residual = std::sqrt(dropped2 / norm2);
  }

  const auto none = static_cast<std::int32_t>(2 * m);  // the row of zeros
  std::vector<std::int32_t> query(static_cast<std::size_t>(s.heads * s.head_dim), none),
      key(static_cast<std::size_t>(s.kv_heads * s.head_dim), none);
  for (std::int64_t p = 0; p < std::min(m, room); ++p) {
    const std::int64_t group = p % s.kv_heads, slot = p / s.kv_heads;
    // Query heads of a group share its keys: each plane is read by one of them, so that the sum over heads is
    // exact and the heads differ.
    const std::int64_t head = group * per_group + slot % per_group;
    const auto [a, b] = pairs[static_cast<std::size_t>(slot)];
    at(key, group * s.head_dim + a) = signed_index(m + p, false);
    at(key, group * s.head_dim + b) = signed_index(p, false);
    at(query, head * s.head_dim + a) = signed_index(p, flipped);
    at(query, head * s.head_dim + b) = signed_index(m + p, !flipped);
  }
  {
    const Matrix directions = directions_of(ctx, planes, layer, std::abs(out.figures.scale));
    out.heads.query = injected(ctx, in, Part::query, layer, directions, query);
    out.heads.key = injected(ctx, in, Part::key, layer, directions, key);
  }
  out.heads.value = usual_matrix(ctx, in.params, in.shape, Part::value, layer);
  out.heads.output = usual_matrix(ctx, in.params, in.shape, Part::output, layer);
  return out;
}

// Queries as doubles, first beside their random part, then rounded; at last what is drawn last.
Peak injection_memory(const LinearOps&, const ModelShape& shape) {
  const LayerNumbers n(shape);
  const std::int64_t d = shape.d_model, directions = d / 2 * 2 + 1;
  const Footprint indices = device_doubles(n.query / d) + doubles(n.query / d + directions);
  Peak out;
  out.reach(device_doubles(directions, d + 1) + indices + device_doubles(2 * n.query) + singles(n.query));
  out.reach(device_doubles(directions, d + 1) + indices + drawn_singles(n.query) + singles(n.key));
  out.reach(singles(n.query + 2 * n.key) + drawn_singles(n.query));
  return out;
}

}  // namespace aloft::recipes
