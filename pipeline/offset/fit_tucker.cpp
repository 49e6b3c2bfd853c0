#include <algorithm>
#include <cmath>

#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/offset/tucker_bases.hpp"

// Higher-order SVD of the smoothed log-ratio of every lag (log_ratios.hpp) in the metric of the unigram.

namespace aloft::offset {
namespace {

/// C of S.
Matrix moments_of(Context& ctx, const Counts& counts, const Matrix& source, const Buffer<double>& share,
                  std::int32_t lags) {
  ContextMoments out(ctx, counts, source, share, lags);
  Matrix products(ctx.device(), source.rows, source.cols);
  for (std::int32_t a = 0; a + 1 < lags; ++a) {
    const RealCsr pairs = ctx.linear().to_real(at(counts.lags, a).view(), nullptr);
    ctx.linear().spmm(pairs.view(), source.cview(), products.view());
    out.add_products(a, products.cview());
  }
  return out.all();
}

/// What is fitted, as it lies on the device.
struct TuckerFactors {
  TuckerBases bases;
  Matrix cores;  ///< [lags·d_s, d_o], with lag weights
};

/// Rotates to the principal axes of what is written and shares each axis's scale evenly between the two
/// factors: halves the norm of U's rows and leaves every product S G Uᵀ as it is. moments: C of S.
void balance(Context& ctx, const Buffer<double>& share, const Matrix& moments, TuckerFactors& f) {
  LinearOps& linear = ctx.linear();
  const std::int64_t n = f.cores.rows, d_o = f.cores.cols, vocab = f.bases.target.rows;
  Matrix product(ctx.device(), n, d_o), axes(ctx.device(), d_o, d_o);
  std::vector<double> energy;
  {
    Matrix written(ctx.device(), d_o, d_o);
    linear.gemm(1, Op::none, moments.cview(), Op::none, f.cores.cview(), 0, product.view());
    linear.gemm(1, Op::transpose, f.cores.cview(), Op::none, product.cview(), 0, written.view());
    Buffer<double> values = numbers_on(ctx.device(), d_o);
    linear.eigh(written.cview(), values.data(), axes.view());
    energy = to_host(values);
  }
  Matrix turned(ctx.device(), vocab, d_o);
  linear.gemm(1, Op::none, f.bases.target.cview(), Op::none, axes.cview(), 0, turned.view());
  f.bases.target = {};
  std::vector<double> read;  // Σ_j p_j u_jc² of every axis
  {
    const Matrix columns = transposed(ctx, turned.cview());
    Buffer<double> norms = numbers_on(ctx.device(), d_o);
    linear.row_norms(columns.cview(), share.data(), norms.data());
    read = to_host(norms);
  }
  std::vector<double> grow, shrink;
  for (std::int64_t c = 0; c < d_o; ++c) {
    const double mean2 = at(read, c);
    // √(rms written / rms read)
    const double t = mean2 > 0 ? std::sqrt(std::sqrt(std::max(at(energy, c), 1e-30) / mean2)) : 1.0;
    grow.push_back(t);
    shrink.push_back(1 / t);
  }
  const Buffer<double> up = device_vector(ctx, grow), down = device_vector(ctx, shrink);
  linear.scale(turned.view(), nullptr, up.data());
  linear.gemm(1, Op::none, f.cores.cview(), Op::none, axes.cview(), 0, product.view());
  linear.scale(product.view(), nullptr, down.data());
  f.bases.target = std::move(turned);
  f.cores = std::move(product);
}

/// The weight of each row's lag: [lags·d_s].
std::vector<double> weights_of_rows(const std::vector<double>& lag_weights, std::int64_t d_s) {
  std::vector<double> out;
  for (const double w : lag_weights) out.insert(out.end(), static_cast<std::size_t>(d_s), w);
  return out;
}

}  // namespace

LagFactors fit_tucker(Context& ctx, const Counts& counts, const FactorParams& p, const Scalars& scalars,
                      TuckerBases* bases) {
  LagFactors out;
  out.vocab = counts.vocab;
  out.d_s = p.d_s;
  out.d_o = p.d_o;
  out.lags = p.lags;
  out.alpha = 1;
  TuckerFactors f;
  {
    const LogRatios ratios(ctx, counts, p, scalars.kappa);
    if (bases != nullptr) {
      f.bases = std::move(*bases);
      make_orthonormal(ctx, f.bases.target, ratios.p());
    } else {
      f.bases = bases_of(ctx, ratios, p);
    }
    f.cores = cores_of(ctx, ratios, f.bases);
  }
  const Buffer<double> weights = device_vector(ctx, weights_of_rows(scalars.lag_weights, p.d_s));
  ctx.linear().scale(f.cores.view(), weights.data(), nullptr);
  const std::vector<double> unigram = smoothed_unigram(counts.unigram);
  for (const double x : unigram) out.bias.push_back(std::log(x));
  const Buffer<double> share = device_vector(ctx, unigram);
  const Matrix moments = moments_of(ctx, counts, f.bases.source, share, p.lags);
  balance(ctx, share, moments, f);
  measure(ctx, share, moments, f.bases.source, f.bases.target, f.cores, out);
  out.source = to_host(f.bases.source);
  out.target = to_host(f.bases.target);
  out.cores = to_host(f.cores);
  return out;
}

Peak fit_tucker_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p) {
  const std::int64_t v = counts.vocab, n = p.lags * p.d_s;
  const auto real = [](std::int64_t rows, std::int64_t cols) { return on_device(matrix_bytes(rows, cols)); };
  const auto host = [](std::int64_t rows, std::int64_t cols) { return on_host(matrix_bytes(rows, cols)); };
  const Footprint ratios = log_ratios_held(counts, p), bases = real(v, p.d_s + p.d_o), cores = real(n, p.d_o);
  Peak out;
  out.reach(ratios + real(v, 1));
  out.reach(ratios, bases_memory(ops, counts, p));
  out.reach(ratios + bases + ops.orthonormalize_scratch(v, p.d_o, 1));
  out.reach(ratios + bases, cores_memory(ops, counts, p));
  const Footprint fitted = bases + cores + real(v + n, 1) + host(v, 2);
  out.reach(fitted + real(v, p.d_s) + host(n, n) + real(p.d_s, p.d_s));
  out.reach(fitted + real(v, p.d_s) + host(n, n), class_sums_memory(ops, counts, p.d_s));
  const Footprint known = fitted + real(n, n);  // moments
  out.reach(known + host(n, n));
  out.reach(known + cores + real(p.d_o, 2 * p.d_o + 1) + ops.eigh_scratch(p.d_o, 1));
  out.reach(known + cores + real(p.d_o, p.d_o + 1) + real(v, p.d_o));
  out.reach(known, measure_memory(ops, v, p));
  out.reach(known + host(v, p.d_s + p.d_o) + host(n, p.d_o));
  return out;
}

}  // namespace aloft::offset
