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

Matrix identity(Device& device, std::int64_t n) {
  std::vector<double> host = host_matrix(n, n);
  const HostView m(host, n);
  for (std::int64_t i = 0; i < n; ++i) m(i, i) = 1;
  return matrix_from(device, host, n, n);
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
