#include "pipeline/spectra/planes.hpp"

#include "pipeline/base/device_math.hpp"

namespace aloft {

Matrix from_planes(Context& ctx, std::span<const double> sigma, ConstMatrixView left, ConstMatrixView right) {
  expects(static_cast<std::int64_t>(sigma.size()) == left.batch * left.rows, "one sigma for each plane");
  Device& device = ctx.device();
  // With B = 2 Σ_k sigma_k l_k r_kᵀ the sum is (B − Bᵀ)/2.
  Matrix scaled = copy_of(device, left);
  const auto weights = to_device(device, sigma);
  for (std::int64_t item = 0; item < left.batch; ++item)
    ctx.linear().scale(scaled.view().item(item), weights.data() + item * left.rows, nullptr);
  Matrix b(device, left.cols, left.cols, left.batch);
  ctx.linear().gemm(2, Op::transpose, scaled.view(), Op::none, right, 0, b.view());
  return skew_part(ctx, b.view());
}

SkewPlanes planes_of(Context& ctx, ConstMatrixView x) {
  const std::int64_t m = x.rows / 2;
  Buffer<double> sigma = numbers_on(ctx.device(), x.batch * m);
  SkewPlanes out{{}, Matrix(ctx.device(), m, x.rows, x.batch), Matrix(ctx.device(), m, x.rows, x.batch)};
  ctx.linear().skew_spectrum(x, sigma.data(), out.left.view(), out.right.view());
  out.sigma = to_host(sigma);
  return out;
}

}  // namespace aloft
