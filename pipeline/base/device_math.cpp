#include "pipeline/base/device_math.hpp"

namespace aloft {

void multiply_in_place(Context& ctx, MatrixView x, ConstMatrixView a) {
  Matrix product(ctx.device(), longest_stripe(x.rows), x.cols);
  for_each_stripe(x.rows, [&](std::int64_t first, std::int64_t count) {
    const MatrixView stripe(x.data + first * x.cols, count, x.cols);
    ctx.linear().gemm(1, Op::none, stripe, Op::none, a, 0, {product.data.data(), count, x.cols});
    ctx.device().copy(stripe.data, product.data.data(),
                      static_cast<std::size_t>(stripe.size()) * sizeof(double));
  });
  ctx.device().synchronize();
}

Matrix identity(Device& device, std::int64_t n) {
  std::vector<double> host(static_cast<std::size_t>(n * n), 0.0);
  for (std::int64_t i = 0; i < n; ++i) host[static_cast<std::size_t>(i * n + i)] = 1;
  return matrix_from(device, host, n, n);
}

Matrix transposed(Context& ctx, ConstMatrixView x) {
  Matrix out(ctx.device(), x.cols, x.rows, x.batch);
  ctx.linear().transpose(x, out.view());
  return out;
}

Matrix skew_part(Context& ctx, ConstMatrixView x) {
  Matrix out(ctx.device(), x.rows, x.cols, x.batch);
  ctx.linear().skew_part(x, out.view());
  return out;
}

std::vector<double> inner_products(Context& ctx, ConstMatrixView x, ConstMatrixView y) {
  Buffer<double> out(ctx.device(), static_cast<std::size_t>(x.batch));
  ctx.linear().inner(x, y, out.data());
  return to_host(out);
}

}  // namespace aloft
