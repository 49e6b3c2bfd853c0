#include <cmath>

#include "pipeline/base/device_math.hpp"
#include "pipeline/spectra/planes.hpp"
#include "pipeline/spectra/spectra.hpp"

namespace aloft {

Spectra decompose(Context& ctx, const Projections& projections) {
  const ConstMatrixView p = projections.transition.view();
  Spectra out;
  out.antisymmetric = planes_of(ctx, skew_part(ctx, p).view());
  ctx.check_interrupt();

  Buffer<double> sigma = numbers_on(ctx.device(), p.batch * p.cols);
  ctx.linear().svd(p, {}, sigma.data(), {});
  out.general_sigma = to_host(sigma);

  for (const double squares : inner_products(ctx, p, p)) out.transition_norm.push_back(std::sqrt(squares));
  return out;
}

Peak decompose_memory(const LinearOps& ops, std::int64_t d, std::int64_t lags) {
  const Footprint squares = on_device(matrix_bytes(d, d, lags)),
                  values = on_device(matrix_bytes(d + 1, lags));
  Peak out;
  out.reach(squares + squares + values + ops.skew_spectrum_scratch(d, lags));  // antisymmetric parts, planes
  out.reach(squares + values + ops.svd_scratch(d, d, lags, false));
  return out;
}

}  // namespace aloft
