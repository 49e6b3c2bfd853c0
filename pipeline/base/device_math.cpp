#include "pipeline/base/device_math.hpp"

#include "pipeline/base/host_matrix.hpp"

namespace aloft {

std::vector<double> to_host(Device& device, ConstMatrixView x) {
  expects(x.contiguous(), "to_host: contiguous");
  std::vector<double> out = host_vector(x.size());
  device.download(out.data(), x.data, out.size() * sizeof(double));
  device.synchronize();
  return out;
}

std::vector<float> floats_to_host(Context& ctx, ConstMatrixView x) {
  FloatMatrix rounded(ctx.device(), x.rows, x.cols, x.batch);
  ctx.linear().round(x, rounded.view());
  return to_host(rounded.data);
}

void column_gram(Context& ctx, ConstMatrixView x, MatrixView out) {
  constexpr std::int64_t block = 256;
  expects(x.cols == out.rows && out.rows == out.cols && x.batch == 1 && out.batch == 1,
          "column_gram: x [m, n], out [n, n]");
  for (std::int64_t first = 0; first < x.cols; first += block) {
    const std::int64_t count = std::min(block, x.cols - first), below = x.cols - first - count;
    ctx.linear().gemm(1, Op::transpose, x.block(0, first, x.rows, count + below), Op::none,
                      x.block(0, first, x.rows, count), 0, out.block(first, first, count + below, count));
    if (below > 0)
      ctx.linear().transpose(out.block(first + count, first, below, count),
                             out.block(first, first + count, count, below));
  }
}

Matrix identity(Device& device, std::int64_t n) {
  constexpr std::size_t width = sizeof(double);
  const std::vector<double> ones = host_vector(n, 1);
  const Buffer<double> diagonal = to_device(device, std::span(ones));
  Matrix out(device, n, n);
  zero(device, out.view());
  device.copy_rows(out.data.data(), static_cast<std::size_t>(n + 1) * width, diagonal.data(), width, width,
                   static_cast<std::size_t>(n));
  return out;
}

Matrix transposed(Context& ctx, ConstMatrixView x) {
  Matrix out(ctx.device(), x.cols, x.rows, x.batch);
  ctx.linear().transpose(x, out.view());
  return out;
}

Matrix joined(Context& ctx, ConstMatrixView a, ConstMatrixView b) {
  Matrix out(ctx.device(), a.rows, a.cols, a.batch + b.batch);
  copy(ctx.device(), a, MatrixView(out.data.data(), a.rows, a.cols, a.batch));
  copy(ctx.device(), b, MatrixView(out.data.data() + a.size(), a.rows, a.cols, b.batch));
  return out;
}

Matrix skew_part(Context& ctx, ConstMatrixView x) {
  Matrix out(ctx.device(), x.rows, x.cols, x.batch);
  ctx.linear().skew_part(x, out.view());
  return out;
}

std::vector<double> inner_products(Context& ctx, ConstMatrixView x, ConstMatrixView y) {
  Buffer<double> out = numbers_on(ctx.device(), x.batch);
  ctx.linear().inner(x, y, out.data());
  return to_host(out);
}

}  // namespace aloft
