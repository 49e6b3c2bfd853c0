#include <cmath>
#include <utility>

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

/// The planes of one layer on the host.
struct Target {
  std::vector<double> sigma, left, right;  ///< [m], [m, d], [m, d]
};

Target target_of(Context& ctx, const SkewPlanes& planes, std::int64_t layer, std::int64_t d) {
  const std::int64_t m = d / 2;
  Target t{{planes.sigma.begin() + layer * m, planes.sigma.begin() + (layer + 1) * m},
           std::vector<double>(static_cast<std::size_t>(m * d)),
           std::vector<double>(static_cast<std::size_t>(m * d))};
  ctx.device().download(t.left.data(), planes.left.cview().item(layer).data, t.left.size() * sizeof(double));
  ctx.device().download(t.right.data(), planes.right.cview().item(layer).data,
                        t.right.size() * sizeof(double));
  ctx.device().synchronize();
  return t;
}

/// W_Q or W_K to add the planes to: noise × the usual random part.
std::vector<double> background(Context& ctx, const RecipeInput& in, Part part, std::int64_t heads,
                               std::int64_t layer) {
  const std::int64_t rows = heads * in.shape.head_dim, d = in.shape.d_model;
  const double stddev =
      in.params.noise * (part == Part::query ? query_std(in.params, in.shape) : in.params.init_std);
  if (stddev == 0) return std::vector<double>(static_cast<std::size_t>(rows * d));
  return normal(ctx, rows, d, in.params.seed, stream_of(part, layer), stddev);
}

void add_row(std::vector<double>& w, std::int64_t row, double scale, const double* direction,
             std::int64_t d) {
  for (std::int64_t j = 0; j < d; ++j) w[row * d + j] += scale * direction[j];
}

}  // namespace

LayerDesign design_injection(Context& ctx, const RecipeInput& in, std::int64_t layer) {
  const ModelShape& s = in.shape;
  const std::int64_t d = s.d_model, m = d / 2, per_group = s.heads / s.kv_heads;
  const SkewPlanes& planes = in.expanded->planes;
  expects(planes.sigma.size() == static_cast<std::size_t>(s.layers * m) && planes.left.cols == d,
          "one item of d/2 planes per layer");
  const Target target = target_of(ctx, planes, layer, d);
  const std::vector<RowPair> pairs = row_pairs(s);
  const std::int64_t room = s.kv_heads * static_cast<std::int64_t>(pairs.size());

  double norm2 = 0, dropped2 = 0;  // each plane holds two equal singular values
  for (std::int64_t p = 0; p < m; ++p) {
    norm2 += 2 * target.sigma[p] * target.sigma[p];
    if (p >= room) dropped2 += 2 * target.sigma[p] * target.sigma[p];
  }
  LayerDesign out;
  const double sign = in.params.sign == Sign::paper ? 1 : -1;
  if (norm2 > 0) {
    out.figures.kernel_norm = in.params.strength * usual_kernel_norm(in.params, s);
    out.figures.scale = sign * out.figures.kernel_norm / std::sqrt(norm2);
    out.figures.truncation_residual = std::sqrt(dropped2 / norm2);
  }

  std::vector<double> query = background(ctx, in, Part::query, s.heads, layer);
  std::vector<double> key = background(ctx, in, Part::key, s.kv_heads, layer);
  for (std::int64_t p = 0; p < std::min(m, room); ++p) {
    const std::int64_t group = p % s.kv_heads, slot = p / s.kv_heads;
    // Query heads of a group share its keys: each plane is read by one of them, so that the sum over heads is
    // exact and the heads differ.
    const std::int64_t head = group * per_group + slot % per_group;
    const auto [a, b] = pairs[static_cast<std::size_t>(slot)];
    const double root = std::sqrt(std::abs(out.figures.scale) * target.sigma[p]);
    const double *l = &target.left[p * d], *r = &target.right[p * d];
    add_row(key, group * s.head_dim + a, root, r, d);
    add_row(key, group * s.head_dim + b, root, l, d);
    add_row(query, head * s.head_dim + a, sign * root, l, d);
    add_row(query, head * s.head_dim + b, -sign * root, r, d);
  }
  out.heads.query = to_f32(query);
  out.heads.key = to_f32(key);
  out.heads.value = usual_matrix(ctx, in.params, in.shape, Part::value, layer);
  out.heads.output = usual_matrix(ctx, in.params, in.shape, Part::output, layer);
  return out;
}

// Planes and the doubles of queries and keys wait until the last of the others is drawn.
Peak injection_memory(const LinearOps&, const ModelShape& shape) {
  const LayerNumbers n(shape);
  Peak out;
  out.reach(doubles(shape.d_model / 2 * 2 + 1, shape.d_model) + doubles(n.query + n.key) +
            singles(n.query + 2 * n.key) + drawn(n.query));
  return out;
}

}  // namespace aloft::recipes
