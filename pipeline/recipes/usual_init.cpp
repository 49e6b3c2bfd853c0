#include "pipeline/recipes/usual_init.hpp"

#include <fmt/format.h>

#include <cmath>

#include "pipeline/device_math.hpp"

namespace aloft::recipes {

std::uint64_t stream_of(Part part, std::int64_t layer, std::int64_t matrix) {
  expects(layer >= 0 && layer < (std::int64_t{1} << 32) && matrix >= 0 && matrix < (1 << 16),
          "layer below 2^32 and matrix below 2^16");
  return (std::uint64_t{0xC0} << 56) | (static_cast<std::uint64_t>(part) << 48) |
         (static_cast<std::uint64_t>(layer) << 16) | static_cast<std::uint64_t>(matrix);
}

double output_std(const ComposeParams& p, const ModelShape& shape) {
  return p.residual_scaled ? p.init_std / std::sqrt(2.0 * static_cast<double>(shape.layers)) : p.init_std;
}

double usual_kernel_norm(const ComposeParams& p, const ModelShape& shape) {
  return static_cast<double>(shape.d_model) * p.init_std * p.init_std *
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
  return to_f32(normal(ctx, rows, cols, seed, stream, stddev));
}

std::vector<float> usual_matrix(Context& ctx, const RecipeInput& in, Part part, std::int64_t layer) {
  const bool shared = part == Part::key || part == Part::value;
  const std::int64_t rows = (shared ? in.shape.kv_heads : in.shape.heads) * in.shape.head_dim;
  const double stddev = part == Part::output ? output_std(in.params, in.shape) : in.params.init_std;
  return normal_f32(ctx, rows, in.shape.d_model, in.params.seed, stream_of(part, layer), stddev);
}

std::vector<float> to_f32(const std::vector<double>& x) { return {x.begin(), x.end()}; }

std::vector<float> embedding_rows(Context& ctx, const ComposeParams& p, const ModelShape& shape,
                                  const Embedding& embedding) {
  const std::int64_t d = shape.d_model, known = embedding.rows.rows;
  expects(embedding.rows.cols == d, "the embedding has the model's width");
  if (known > shape.vocab)
    throw UsageError(
        fmt::format("the embedding has {} tokens but the model's vocabulary only {}: give the model at "
                    "least as many rows, or count with a smaller vocabulary",
                    known, shape.vocab));
  std::vector<double> out = normal(ctx, shape.vocab, d, p.seed, stream_of(Part::embedding, 0), p.init_std),
                      rows;
  const double usual_norm = p.init_std * std::sqrt(static_cast<double>(d));
  for_each_stripe(known, [&](std::int64_t first, std::int64_t count) {
    rows.resize(static_cast<std::size_t>(count * d));
    ctx.device().download(rows.data(), embedding.rows.data.data() + first * d, rows.size() * sizeof(double));
    ctx.device().synchronize();
    for (std::int64_t i = 0; i < count; ++i) {
      double norm2 = 0;
      for (std::int64_t j = 0; j < d; ++j) norm2 += rows[i * d + j] * rows[i * d + j];
      if (norm2 == 0) continue;
      const double scale = usual_norm / std::sqrt(norm2);
      for (std::int64_t j = 0; j < d; ++j) out[(first + i) * d + j] = rows[i * d + j] * scale;
    }
  });
  return to_f32(out);
}

}  // namespace aloft::recipes
