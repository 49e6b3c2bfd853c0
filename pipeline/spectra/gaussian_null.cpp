#include "pipeline/spectra/gaussian_null.hpp"

#include <cmath>

#include "pipeline/base/device_math.hpp"

namespace aloft {
namespace {

constexpr std::uint64_t kGaussianStream = 0x6e75'6c6c'6761'7573ULL;  // "nullgaus": of W_Q, + 1 of W_K

GaussianNull::Sample measure(Context& ctx, const Matrix& m) {
  const Matrix skew = skew_part(ctx, m.view());
  GaussianNull::Sample out;
  out.ratio = std::sqrt(inner_products(ctx, skew.view(), skew.view())[0] /
                        inner_products(ctx, m.view(), m.view())[0]);
  Buffer<double> sigma = numbers_on(ctx.device(), m.rows / 2);
  ctx.linear().skew_spectrum(skew.view(), sigma.data(), {}, {});
  out.planes = to_host(sigma);
  return out;
}

}  // namespace

GaussianNull measure_gaussian_null(Context& ctx, std::int64_t d, std::uint64_t seed) {
  Matrix query(ctx.device(), d, d), key(ctx.device(), d, d), kernel(ctx.device(), d, d);
  ctx.linear().fill_normal(query.view(), seed, kGaussianStream, 1);
  ctx.linear().fill_normal(key.view(), seed, kGaussianStream + 1, 1);
  ctx.linear().gemm(1, Op::transpose, query.view(), Op::none, key.view(), 0, kernel.view());
  return {measure(ctx, kernel), measure(ctx, query)};
}

}  // namespace aloft
