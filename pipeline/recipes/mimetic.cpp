#include <algorithm>
#include <cmath>

#include "pipeline/base/device_math.hpp"
#include "pipeline/recipes/haar.hpp"
#include "pipeline/recipes/layer_memory.hpp"
#include "pipeline/recipes/recipe.hpp"

// Trockman & Kolter, "Mimetic Initialization of Self-Attention Layers" (ICML 2023): per head W_Qᵀ W_K close
// to the best rank-head_dim approximation of α(I + Z), and Σ_h W_O,h W_V,h close to −βI + β'Z, Z normal of
// variance 1/d (so that Z and I have the same norm); both factored by the SVD with √σ on either side.

namespace aloft::recipes {
namespace {

/// Rounds of the subspace iteration. The spectrum of I + Z has no gap to converge on, and none is needed:
/// after 6 rounds what the factors miss is within 1% of what the best of their rank miss.
constexpr int kPowerIterations = 6;

/// The leading k singular triplets: u [rows, k], sigma [k], vt [k, d].
struct Truncated {
  std::vector<double> u, sigma, vt;
};

/// Triplets that are computed for k of them: all where that is about as cheap.
std::int64_t triplets_width(std::int64_t d, std::int64_t k) { return 2 * k >= d ? d : k; }

/// k <= d <= rows. Exact when the SVD is about as cheap (2k >= d), else randomized subspace iteration (Halko,
/// Martinsson & Tropp 2011), which costs O(rows·d·k) instead of O(rows·d²).
Truncated leading_triplets(Context& ctx, const Matrix& m, std::int64_t k, std::uint64_t seed,
                           std::uint64_t stream) {
  Device& device = ctx.device();
  LinearOps& linear = ctx.linear();
  const std::int64_t rows = m.rows, d = m.cols, width = triplets_width(d, k);
  Matrix u(device, rows, width), sigma(device, 1, width), vt(device, width, d);
  if (width == d) {
    linear.svd(m.cview(), u.view(), sigma.data.data(), vt.view());
  } else {
    Matrix basis = haar_columns(ctx, d, k, seed, stream), image(device, rows, k), turn(device, k, k);
    for (int i = 0; i < kPowerIterations; ++i) {
      linear.gemm(1, Op::none, m.cview(), Op::none, basis.cview(), 0, image.view());
      linear.gemm(1, Op::transpose, m.cview(), Op::none, image.cview(), 0, basis.view());
      linear.orthonormalize(basis.view());
    }
    linear.gemm(1, Op::none, m.cview(), Op::none, basis.cview(), 0, image.view());
    linear.svd(image.cview(), u.view(), sigma.data.data(), turn.view());
    linear.gemm(1, Op::none, turn.cview(), Op::transpose, basis.cview(), 0, vt.view());
  }
  const std::vector<double> wide = to_host(u.data);
  Truncated out{std::vector<double>(static_cast<std::size_t>(rows * k)), to_host(sigma.data),
                to_host(vt.data)};
  for (std::int64_t i = 0; i < rows; ++i) std::copy_n(&wide[i * width], k, &out.u[i * k]);
  out.sigma.resize(static_cast<std::size_t>(k));
  out.vt.resize(static_cast<std::size_t>(k * d));
  return out;
}

/// What leading_triplets() of [rows, d] takes, its result among it.
Peak triplets_memory(const LinearOps& ops, std::int64_t rows, std::int64_t d, std::int64_t k) {
  const std::int64_t width = triplets_width(d, k);
  const Footprint factors = device_doubles(rows + d + 1, width);
  Footprint held = factors;
  Peak out;
  if (width == d) {
    out.reach(factors + ops.svd_scratch(rows, d, 1, true));
  } else {
    held = held + device_doubles(d + rows + k, k);
    out.reach(factors + device_doubles(d, k) + ops.orthonormalize_scratch(d, k, 1));
    out.reach(held + ops.orthonormalize_scratch(d, k, 1));
    out.reach(held + ops.svd_scratch(rows, k, 1, true));
  }
  out.reach(held + doubles(rows, width + k) + doubles(d, width));
  return out;
}

/// tr(aᵀ b)/d of two [rows, d] matrices.
double mean_diagonal(const float* a, const float* b, std::int64_t rows, std::int64_t d) {
  double sum = 0;
  for (std::int64_t i = 0; i < rows * d; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum / static_cast<double>(d);
}

/// Query and key heads. Query heads that share a key head each have a target α(I + Z_h) of their own: the SVD
/// of the targets stacked [heads of the group · d, d] gives the best common key space, and every head its own
/// query.
void query_key(Context& ctx, const RecipeInput& in, std::int64_t layer, LayerHeads& heads) {
  const ModelShape& s = in.shape;
  const std::int64_t d = s.d_model, per_group = s.heads / s.kv_heads, k = std::min(s.head_dim, d);
  const double root_d = std::sqrt(static_cast<double>(d));
  const double alpha = in.params.mimetic_key < 0 ? 0.7 / root_d : in.params.mimetic_key;
  const Matrix one = identity(ctx.device(), d);
  Matrix targets(ctx.device(), per_group * d, d);
  for (std::int64_t group = 0; group < s.kv_heads; ++group) {
    ctx.check_interrupt();
    for (std::int64_t h = 0; h < per_group; ++h) {
      const MatrixView target(targets.data.data() + h * d * d, d, d);
      ctx.linear().fill_normal(target, in.params.seed,
                               stream_of(Part::mimetic_query_key, layer, group * per_group + h),
                               alpha / root_d);
      ctx.linear().add_scaled(alpha, one.view(), target);
    }
    const Truncated t =
        leading_triplets(ctx, targets, k, in.params.seed, stream_of(Part::mimetic_start, layer, group));
    for (std::int64_t row = 0; row < k; ++row) {
      const double root = std::sqrt(t.sigma[row]);
      float* key = &heads.key[(group * s.head_dim + row) * d];
      for (std::int64_t j = 0; j < d; ++j) key[j] = static_cast<float>(root * t.vt[row * d + j]);
      for (std::int64_t g = 0; g < per_group; ++g) {
        float* query = &heads.query[((group * per_group + g) * s.head_dim + row) * d];
        for (std::int64_t j = 0; j < d; ++j) query[j] = static_cast<float>(root * t.u[(g * d + j) * k + row]);
      }
    }
  }
}

/// Value and output heads: triplets dealt to the value heads in turn. Query heads that share a value head
/// each write an equal share.
void value_output(Context& ctx, const RecipeInput& in, std::int64_t layer, LayerHeads& heads) {
  const ModelShape& s = in.shape;
  const std::int64_t d = s.d_model, per_group = s.heads / s.kv_heads,
                     k = std::min(s.kv_heads * s.head_dim, d);
  Matrix target(ctx.device(), d, d);
  ctx.linear().fill_normal(target.view(), in.params.seed, stream_of(Part::mimetic_value, layer),
                           in.params.mimetic_value_noise / std::sqrt(static_cast<double>(d)));
  ctx.linear().add_scaled(-in.params.mimetic_value, identity(ctx.device(), d).view(), target.view());
  const Truncated t =
      leading_triplets(ctx, target, k, in.params.seed, stream_of(Part::mimetic_start, layer, s.kv_heads));
  for (std::int64_t p = 0; p < k; ++p) {
    const std::int64_t group = p % s.kv_heads, row = p / s.kv_heads;
    const double root = std::sqrt(t.sigma[p]);
    float* value = &heads.value[(group * s.head_dim + row) * d];
    for (std::int64_t j = 0; j < d; ++j) value[j] = static_cast<float>(root * t.vt[p * d + j]);
    for (std::int64_t g = 0; g < per_group; ++g) {
      float* output = &heads.output[((group * per_group + g) * s.head_dim + row) * d];
      for (std::int64_t j = 0; j < d; ++j)
        output[j] = static_cast<float>(root * t.u[j * k + p] / static_cast<double>(per_group));
    }
  }
}

}  // namespace

LayerDesign design_mimetic(Context& ctx, const RecipeInput& in, std::int64_t layer) {
  const ModelShape& s = in.shape;
  const std::int64_t d = s.d_model, block = s.head_dim * d, per_group = s.heads / s.kv_heads;
  LayerDesign out;
  // Rows that the targets' rank leaves over: usual keys and values that nothing reads yet (query, output
  // zero), so that the products stay as designed and the rows can still learn.
  out.heads.query.assign(static_cast<std::size_t>(s.heads * block), 0.0F);
  out.heads.key = usual_matrix(ctx, in.params, in.shape, Part::key, layer);
  out.heads.value = usual_matrix(ctx, in.params, in.shape, Part::value, layer);
  out.heads.output.assign(static_cast<std::size_t>(s.heads * block), 0.0F);
  query_key(ctx, in, layer, out.heads);
  value_output(ctx, in, layer, out.heads);

  double query_key_diagonal = 0, value_output_diagonal = 0;
  for (std::int64_t h = 0; h < s.heads; ++h) {
    const std::int64_t g = h / per_group;
    query_key_diagonal +=
        mean_diagonal(&out.heads.query[h * block], &out.heads.key[g * block], s.head_dim, d);
    value_output_diagonal +=
        mean_diagonal(&out.heads.output[h * block], &out.heads.value[g * block], s.head_dim, d);
  }
  out.figures.measures = {{"query_key_diagonal", query_key_diagonal / static_cast<double>(s.heads)},
                          {"value_output_diagonal", value_output_diagonal}};
  return out;
}

Peak mimetic_memory(const LinearOps& ops, const ModelShape& shape) {
  const LayerNumbers n(shape);
  const std::int64_t d = shape.d_model, group_rows = shape.heads / shape.kv_heads * d;
  const Footprint heads = singles(2 * n.query + 2 * n.key), square = device_doubles(d, d);
  Peak out;
  out.reach(singles(n.query + n.key) + drawn_singles(n.key));  // usual values
  out.reach(heads + square + doubles(d, d));                   // one
  out.reach(heads + square + device_doubles(group_rows, d),    // one, and the group's targets
            triplets_memory(ops, group_rows, d, std::min(shape.head_dim, d)));
  out.reach(heads + square + square + doubles(d, d));
  out.reach(heads + square, triplets_memory(ops, d, d, std::min(shape.kv_heads * shape.head_dim, d)));
  return out;
}

Recipe mimetic_recipe() {
  return {.name = "mimetic",
          .summary = "query-key products near the identity, value-output products near minus the identity",
          .flags = {"mimetic-key", "mimetic-value"},
          .stages = {kCompose, kEmit},
          .plan = plan_layers<mimetic_memory>,
          .design = design_layers<design_mimetic>,
          .designs_outputs = true};
}

}  // namespace aloft::recipes
