#include <algorithm>
#include <cmath>

#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/offset/tucker_bases.hpp"

// Higher-order SVD of the smoothed log-ratio of every lag (log_ratios.hpp) in the metric of the unigram.

namespace aloft::offset {
namespace {

/// Rotates to the principal axes of what is written and shares each axis's scale evenly between the two
/// factors: halves the norm of U's rows and leaves every product S G Uᵀ as it is.
void balance(Context& ctx, const Counts& counts, LagFactors& f, const std::vector<double>& p) {
  LinearOps& linear = ctx.linear();
  const Matrix source = matrix_from(ctx.device(), f.source, f.vocab, f.d_s);
  const Buffer<double> share = device_vector(ctx, p);
  const Matrix moments = context_moments(ctx, counts, source, share, f.lags);
  const Matrix cores = matrix_from(ctx.device(), f.cores, f.lags * f.d_s, f.d_o);
  Matrix product(ctx.device(), f.lags * f.d_s, f.d_o), written(ctx.device(), f.d_o, f.d_o),
      axes(ctx.device(), f.d_o, f.d_o);
  linear.gemm(1, Op::none, moments.cview(), Op::none, cores.cview(), 0, product.view());
  linear.gemm(1, Op::transpose, cores.cview(), Op::none, product.cview(), 0, written.view());
  Buffer<double> values = numbers_on(ctx.device(), f.d_o);
  linear.eigh(written.cview(), values.data(), axes.view());
  const std::vector<double> energy = to_host(values);

  Matrix target = matrix_from(ctx.device(), f.target, f.vocab, f.d_o), turned(ctx.device(), f.vocab, f.d_o);
  linear.gemm(1, Op::none, target.cview(), Op::none, axes.cview(), 0, turned.view());
  const std::vector<double> u = to_host(turned);
  std::vector<double> grow, shrink;
  for (std::int64_t c = 0; c < f.d_o; ++c) {
    double mean2 = 0;
    for (std::int64_t j = 0; j < f.vocab; ++j) {
      const double x = HostView(u, f.d_o)(j, c);
      mean2 += at(p, j) * x * x;
    }
    // √(rms written / rms read)
    const double t = mean2 > 0 ? std::sqrt(std::sqrt(std::max(at(energy, c), 1e-30) / mean2)) : 1.0;
    grow.push_back(t);
    shrink.push_back(1 / t);
  }
  const Buffer<double> up = device_vector(ctx, grow), down = device_vector(ctx, shrink);
  linear.scale(turned.view(), nullptr, up.data());
  f.target = to_host(turned);
  linear.gemm(1, Op::none, cores.cview(), Op::none, axes.cview(), 0, product.view());
  linear.scale(product.view(), nullptr, down.data());
  f.cores = to_host(product);
}

}  // namespace

LagFactors fit_tucker(Context& ctx, const Counts& counts, const FactorParams& p, const Scalars& scalars) {
  LagFactors out;
  out.vocab = counts.vocab;
  out.d_s = p.d_s;
  out.d_o = p.d_o;
  out.lags = p.lags;
  std::vector<double> share;
  {
    const LogRatios ratios(ctx, counts, p, scalars.kappa);
    const TuckerBases bases = bases_of(ctx, ratios, p);
    out.cores = to_host(cores_of(ctx, ratios, bases));
    out.source = to_host(bases.source);
    out.target = to_host(bases.target);
    share = ratios.p();
  }
  const HostView cores(out.cores, p.d_s * p.d_o);
  for (std::int64_t l = 0; l < p.lags; ++l)
    for (std::int64_t i = 0; i < p.d_s * p.d_o; ++i) cores(l, i) *= at(scalars.lag_weights, l);
  for (const double x : share) out.bias.push_back(std::log(x));
  out.alpha = 1;
  balance(ctx, counts, out, share);
  return out;
}

Peak fit_tucker_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p) {
  const std::int64_t v = counts.vocab, n = p.lags * p.d_s, most = counts.most_entries();
  const auto real = [](std::int64_t rows, std::int64_t cols) { return on_device(matrix_bytes(rows, cols)); };
  const auto host = [](std::int64_t rows, std::int64_t cols) { return on_host(matrix_bytes(rows, cols)); };
  const Footprint ratios = log_ratios_held(counts, p), bases = real(v, p.d_s + p.d_o),
                  result = host(v, p.d_s + p.d_o + 2) + host(n, p.d_o), lag = on_device(csr_bytes(v, most));
  Peak out;
  out.reach(ratios + real(v, 1));
  out.reach(ratios, bases_memory(ops, counts, p));
  out.reach(ratios + bases, cores_memory(ops, counts, p));
  out.reach(ratios + bases + real(n, p.d_o) + result);
  // axes of what is written
  out.reach(result + real(v, 2 * p.d_s + 1) + lag + host(n, n) + ops.spmm_scratch(v, v, most, p.d_s));
  out.reach(result + real(v, p.d_s + 1 + 2 * p.d_o) + host(v, 2 * p.d_o) + real(n, n + 2 * p.d_o) +
            real(p.d_o, 2 * p.d_o) + ops.eigh_scratch(p.d_o, 1));
  return out;
}

}  // namespace aloft::offset
