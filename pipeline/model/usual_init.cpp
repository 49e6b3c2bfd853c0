#include "pipeline/model/usual_init.hpp"

#include <cmath>

#include "pipeline/base/device_math.hpp"

namespace aloft {

std::uint64_t stream_of(Part part, std::int64_t layer, std::int64_t matrix) {
  expects(layer >= 0 && layer < (std::int64_t{1} << 32) && matrix >= 0 && matrix < (1 << 16),
          "layer below 2^32 and matrix below 2^16");
  return (std::uint64_t{0xC0} << 56) | (static_cast<std::uint64_t>(part) << 48) |
         (static_cast<std::uint64_t>(layer) << 16) | static_cast<std::uint64_t>(matrix);
}

double output_std(const UsualInit& p, const ModelShape& shape) {
  return p.residual_multiplier *
         (p.residual_scaled ? p.init_std / std::sqrt(2.0 * static_cast<double>(shape.layers)) : p.init_std);
}

double query_std(const UsualInit& p, const ModelShape& shape) {
  return p.score_scale ? p.init_std * std::sqrt(static_cast<double>(shape.head_dim)) * *p.score_scale
                       : p.init_std;
}
double embedding_std(const UsualInit& p) { return p.init_std * p.embedding_multiplier; }
double head_std(const UsualInit& p) { return p.init_std * p.logits_multiplier; }

double usual_kernel_norm(const UsualInit& p, const ModelShape& shape) {
  return static_cast<double>(shape.d_model) * query_std(p, shape) * p.init_std *
         std::sqrt(static_cast<double>(shape.heads * shape.head_dim));
}

std::vector<double> normal(Context& ctx, std::int64_t rows, std::int64_t cols, std::uint64_t seed,
                           std::uint64_t stream, double stddev) {
  Matrix x(ctx.device(), rows, cols);
  ctx.linear().fill_normal(x.view(), seed, stream, stddev);
  return to_host(x.data);
}

std::vector<float> normal_f32(Context& ctx, std::int64_t rows, std::int64_t cols, std::uint64_t seed,
                              std::uint64_t stream, double stddev) {
  Matrix x(ctx.device(), rows, cols);
  ctx.linear().fill_normal(x.view(), seed, stream, stddev);
  return floats_to_host(ctx, x.view());
}

std::vector<float> usual_matrix(Context& ctx, const UsualInit& p, const ModelShape& shape, Part part,
                                std::int64_t layer) {
  const bool shared = part == Part::key || part == Part::value;
  const std::int64_t rows = (shared ? shape.kv_heads : shape.heads) * shape.head_dim;
  const double stddev = part == Part::output  ? output_std(p, shape)
                        : part == Part::query ? query_std(p, shape)
                                              : p.init_std;
  return normal_f32(ctx, rows, shape.d_model, p.seed, stream_of(part, layer), stddev);
}

std::vector<float> to_f32(const std::vector<double>& x) { return {x.begin(), x.end()}; }

}  // namespace aloft
