#pragma once
#include "pipeline/counts/holdout.hpp"
#include "pipeline/offset/factors.hpp"

// What the two estimators share, and what fit_lag_factors() needs of them.

namespace aloft::offset {

/// p_i = (unigram_i + 1/2) / Σ: finite logarithms for ids never seen.
[[nodiscard]] std::vector<double> smoothed_unigram(const Counts& counts);

/// √p on the device.
[[nodiscard]] Buffer<double> device_vector(Context& ctx, const std::vector<double>& x);

/// Q f(Λ) Qᵀ of a symmetric a [n, n]; f sees the eigenvalues, none below `floor`.
template <class F>
[[nodiscard]] Matrix symmetric_function(Context& ctx, ConstMatrixView a, double floor, const F& f) {
  const std::int64_t n = a.rows;
  Matrix vectors(ctx.device(), n, n), scaled(ctx.device(), n, n), out(ctx.device(), n, n);
  Buffer<double> values = numbers_on(ctx.device(), n);
  ctx.linear().eigh(a, values.data(), vectors.view());
  std::vector<double> lambda = to_host(values);
  for (double& x : lambda) x = f(x < floor ? floor : x);
  const Buffer<double> column = device_vector(ctx, lambda);
  copy(ctx.device(), vectors.view(), scaled.view());
  ctx.linear().scale(scaled.view(), nullptr, column.data());
  ctx.linear().gemm(1, Op::none, scaled.view(), Op::transpose, vectors.cview(), 0, out.view());
  return out;
}

/// Rows of x scaled to unit length, those shorter than `floor` by 1/floor.
void make_unit(Context& ctx, Matrix& x, double floor);

/// trace(a)/n of a [n, n].
[[nodiscard]] double mean_diagonal(const Matrix& a);

/// Second moments of the last `lags` embedded tokens (block Toeplitz): block (a, b) [d_s, d_s] of the result
/// [lags·d_s, lags·d_s] is E[x_a x_bᵀ], x_a = S[token a places before the latest]: Sᵀ J_{a−b} S / N for a >
/// b, its transpose for a < b, Sᵀ diag(p) S for a = b.
[[nodiscard]] Matrix context_moments(Context& ctx, const Counts& counts, const Matrix& source,
                                     const Buffer<double>& p, std::int32_t lags);

/// Fills written_norm and participation of factors whose source, target and cores are there.
void measure(Context& ctx, const Counts& counts, const std::vector<double>& p, LagFactors& f);

/// Choice of scalars: what is left open in `p` is set from the counts' slice.
struct Scalars {
  double alpha = 0, kappa = 0, ridge = 0;
  std::vector<double> lag_weights;
  double loss = 0, loss_error = 0;  ///< nats, and the standard error of that
};

[[nodiscard]] Scalars choose_discriminant(Context& ctx, const Counts& without, const HoldoutPositions& at,
                                          const FactorParams& p);
[[nodiscard]] LagFactors fit_discriminant(Context& ctx, const Counts& counts, const FactorParams& p,
                                          const Scalars& scalars);
[[nodiscard]] Scalars choose_tucker(Context& ctx, const Counts& without, const HoldoutPositions& at,
                                    const FactorParams& p);
[[nodiscard]] LagFactors fit_tucker(Context& ctx, const Counts& counts, const FactorParams& p,
                                    const Scalars& scalars);
/// What these take (as in counts/counts.hpp).
[[nodiscard]] Peak choose_discriminant_memory(const LinearOps& ops, const CountsShape& counts,
                                              const FactorParams& p, std::int64_t positions);
[[nodiscard]] Peak fit_discriminant_memory(const LinearOps& ops, const CountsShape& counts,
                                           const FactorParams& p);
[[nodiscard]] Peak choose_tucker_memory(const LinearOps& ops, const CountsShape& counts,
                                        const FactorParams& p, std::int64_t positions);
[[nodiscard]] Peak fit_tucker_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p);
/// What measure() takes beside the factors.
[[nodiscard]] Peak measure_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p);

}  // namespace aloft::offset
