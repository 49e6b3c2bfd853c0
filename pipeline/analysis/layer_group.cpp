#include "pipeline/analysis/layer_group.hpp"

#include <string>
#include <utility>

#include "pipeline/base/device_math.hpp"

namespace aloft::analysis {
namespace {

constexpr std::uint64_t kDrawStream = 0x616e'616c'6e75'6c6cULL;  // "analnull": + 4·layer + which

Matrix upload(Context& ctx, const std::vector<LayerHeads>& layers, std::vector<float> LayerHeads::*part,
              std::int64_t rows, std::int64_t d) {
  std::vector<double> all;
  all.reserve(layers.size() * static_cast<std::size_t>(rows * d));
  for (const LayerHeads& layer : layers) {
    expects((layer.*part).size() == static_cast<std::size_t>(rows * d), "heads of the model's shape");
    all.insert(all.end(), (layer.*part).begin(), (layer.*part).end());
  }
  return matrix_from(ctx.device(), all, rows, d, static_cast<std::int64_t>(layers.size()));
}

}  // namespace

LayerGroup group_of(Context& ctx, const ModelShape& s, const std::vector<LayerHeads>& layers) {
  const std::int64_t q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
  return {upload(ctx, layers, &LayerHeads::query, q, s.d_model),
          upload(ctx, layers, &LayerHeads::key, kv, s.d_model),
          upload(ctx, layers, &LayerHeads::value, kv, s.d_model),
          upload(ctx, layers, &LayerHeads::output, q, s.d_model)};
}

LayerGroup gaussian_group(Context& ctx, const ModelShape& s, std::int64_t first, std::int64_t layers,
                          std::uint64_t seed) {
  const std::int64_t q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
  LayerGroup out{Matrix(ctx.device(), q, s.d_model, layers), Matrix(ctx.device(), kv, s.d_model, layers),
                 Matrix(ctx.device(), kv, s.d_model, layers), Matrix(ctx.device(), q, s.d_model, layers)};
  for (std::int64_t l = 0; l < layers; ++l) {
    std::uint64_t stream = kDrawStream + 4 * static_cast<std::uint64_t>(first + l);
    for (Matrix* m : {&out.query, &out.key, &out.value, &out.output})
      ctx.linear().fill_normal(m->view().item(l), seed, stream++, 1);
  }
  return out;
}

std::vector<std::int32_t> expanded_rows(const ModelShape& s) {
  const std::int64_t per_group = s.heads / s.kv_heads;
  std::vector<std::int32_t> rows;
  for (std::int64_t h = 0; h < s.heads; ++h)
    for (std::int64_t r = 0; r < s.head_dim; ++r)
      rows.push_back(signed_index(h / per_group * s.head_dim + r, false));
  return rows;
}

Matrix expanded(Context& ctx, const ModelShape& s, const Matrix& x) {
  const auto on_device = to_device<const std::int32_t>(ctx.device(), expanded_rows(s));
  Matrix out(ctx.device(), s.heads * s.head_dim, x.cols, x.batch);
  ctx.linear().permute(x.cview(), on_device.data(), nullptr, out.view());
  ctx.device().synchronize();  // before the indices go
  return out;
}

Matrix summed_by_group(Context& ctx, const ModelShape& s, const Matrix& x) {
  const std::int64_t per_group = s.heads / s.kv_heads;
  Matrix out(ctx.device(), s.kv_heads * s.head_dim, x.cols, x.batch);
  zero(ctx.device(), out.view());
  for (std::int64_t h = 0; h < s.heads; ++h)
    ctx.linear().add_scaled(1, x.cview().row_block(h * s.head_dim, s.head_dim),
                            out.view().row_block(h / per_group * s.head_dim, s.head_dim));
  return out;
}

ConstMatrixView heads_of(const Matrix& x, const ModelShape& s) {
  return {x.data.data(), s.head_dim, x.cols, x.batch * s.heads};
}

}  // namespace aloft::analysis
