#include "pipeline/recipes/embedding_rows.hpp"

#include <fmt/format.h>

#include <cmath>
#include <span>

#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"

namespace aloft::recipes {

std::vector<float> embedding_rows(Context& ctx, const UsualInit& p, const ModelShape& shape,
                                  const Embedding& embedding) {
  const std::int64_t d = shape.d_model, known = embedding.rows.rows;
  expects(embedding.rows.cols == d, "the embedding has the model's width");
  if (known > shape.vocab)
    throw UsageError(
        fmt::format("the embedding has {} tokens but the model's vocabulary only {}: give the model at "
                    "least as many rows, or count with a smaller vocabulary",
                    known, shape.vocab));
  Device& device = ctx.device();
  LinearOps& linear = ctx.linear();
  Matrix out(device, shape.vocab, d);
  linear.fill_normal(out.view(), p.seed, stream_of(Part::embedding, 0), embedding_std(p));
  const double usual_norm = embedding_std(p) * std::sqrt(static_cast<double>(d));
  const std::vector<double> ones = host_vector(d, 1);
  const Buffer<double> weights = to_device(device, std::span(ones));
  for_each_stripe(known, [&](std::int64_t first, std::int64_t count) {
    const ConstMatrixView rows = embedding.rows.view().row_block(first, count);
    Buffer<double> norms = numbers_on(device, count);
    linear.row_norms(rows, weights.data(), norms.data());
    std::vector<double> scales = to_host(norms), drawn = host_vector(count);
    for (std::int64_t i = 0; i < count; ++i) {  // a token without statistics keeps what was drawn
      double& x = at(scales, i);
      at(drawn, i) = x == 0 ? 1 : 0;
      x = x == 0 ? 0 : usual_norm / std::sqrt(x);
    }
    const Buffer<double> by = to_device(device, std::span(scales)),
                         keep = to_device(device, std::span(drawn));
    Matrix scaled = copy_of(device, rows);
    linear.scale(scaled.view(), by.data(), nullptr);
    linear.scale(out.view().row_block(first, count), keep.data(), nullptr);
    linear.add_scaled(1, scaled.view(), out.view().row_block(first, count));
  });
  return floats_to_host(ctx, out.view());
}

}  // namespace aloft::recipes
