#include "pipeline/recipes/haar.hpp"

namespace aloft::recipes {

Matrix haar_columns(Context& ctx, std::int64_t rows, std::int64_t cols, std::uint64_t seed,
                    std::uint64_t stream) {
  expects(rows >= cols, "at least as many rows as columns");
  Matrix q(ctx.device(), rows, cols);
  ctx.linear().fill_normal(q.view(), seed, stream, 1);
  ctx.linear().orthonormalize(q.view());
  return q;
}

}  // namespace aloft::recipes
