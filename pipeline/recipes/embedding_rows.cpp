#include "pipeline/recipes/embedding_rows.hpp"

#include <fmt/format.h>

#include <cmath>

#include "pipeline/base/device_math.hpp"

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
  std::vector<double> out = normal(ctx, shape.vocab, d, p.seed, stream_of(Part::embedding, 0),
                                   embedding_std(p)),
                      rows;
  const double usual_norm = embedding_std(p) * std::sqrt(static_cast<double>(d));
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
