#pragma once
#include "pipeline/counts/holdout.hpp"
#include "pipeline/offset/factors.hpp"

// What the two estimators share, and what fit_lag_factors() needs of them.

namespace aloft::offset {

/// p_i = (unigram_i + 1/2) / Σ: finite logarithms for ids never seen.
[[nodiscard]] std::vector<double> smoothed_unigram(const std::vector<std::uint64_t>& unigram);

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
/// b, its transpose for a < b, Sᵀ diag(p) S for a = b. Made as the class sums J_mᵀ S come.
class ContextMoments {
 public:
  ContextMoments(Context& ctx, const Counts& counts, const Matrix& source, const Buffer<double>& p,
                 std::int32_t lags);
  /// sums = J_{a+1}ᵀ S, for every a from 0 to lags − 2 at least.
  void add(std::int32_t a, ConstMatrixView sums);
  /// The same of products = J_{a+1} S, which need no transpose of J.
  void add_products(std::int32_t a, ConstMatrixView products);
  [[nodiscard]] Matrix all() const;

 private:
  void add(std::int32_t a, ConstMatrixView left, ConstMatrixView right);
  void place(std::int32_t m, const Matrix& block);

  Context& ctx_;
  const Counts& counts_;
  const Matrix& source_;
  std::int32_t lags_;
  std::vector<double> moments_;
};

/// out = J_{a+1}ᵀ S: Σ over places where j is next of S[token a places before the last one], a row for each
/// j. out: [V, d_s], may be a block.
void class_sums(Context& ctx, const Counts& counts, const Matrix& source, std::int32_t a, MatrixView out);
/// What that takes beside the result.
[[nodiscard]] Peak class_sums_memory(const LinearOps& ops, const CountsShape& counts, std::int64_t d_s);

/// Fills written_norm and participation of factors that are there as matrices on the device. moments:
/// [lags·d_s, lags·d_s] as above, cores [lags·d_s, d_o].
void measure(Context& ctx, const Buffer<double>& p, const Matrix& moments, const Matrix& source,
             const Matrix& target, const Matrix& cores, LagFactors& f);

/// Choice of scalars: what is left open in `p` is set from the counts' slice.
struct Scalars {
  double alpha = 0, kappa = 0, ridge = 0;
  std::vector<double> lag_weights;
  double loss = 0, loss_error = 0;  ///< nats, and the standard error of that
  /// discriminant: DiscriminantBasis::evidence() of all tokens without the slice, in single precision.
  std::vector<double> evidence = {};
};

class DiscriminantBasis;

/// basis: of the counts without the slice; null where there is none.
[[nodiscard]] Scalars choose_discriminant(Context& ctx, const DiscriminantBasis* basis,
                                          const HoldoutPositions& at, const FactorParams& p);
/// evidence: DiscriminantBasis::evidence() of all tokens.
[[nodiscard]] LagFactors fit_discriminant(Context& ctx, DiscriminantBasis basis, const FactorParams& p,
                                          const Scalars& scalars, const std::vector<double>& evidence);

struct TuckerBases;
struct TuckerChoice;

/// A slice of no positions: defaults, and no bases.
[[nodiscard]] TuckerChoice choose_tucker(Context& ctx, const Counts& without, const HoldoutPositions& at,
                                         const FactorParams& p);
/// bases: those to use; null: of these counts.
[[nodiscard]] LagFactors fit_tucker(Context& ctx, const Counts& counts, const FactorParams& p,
                                    const Scalars& scalars, TuckerBases* bases);
/// What these take (as in counts/counts.hpp); the discriminant's, beside its basis where they choose.
[[nodiscard]] Peak choose_discriminant_memory(const LinearOps& ops, const CountsShape& counts,
                                              const FactorParams& p, std::int64_t positions);
[[nodiscard]] Peak fit_discriminant_memory(const LinearOps& ops, const CountsShape& counts,
                                           const FactorParams& p);
[[nodiscard]] Peak choose_tucker_memory(const LinearOps& ops, const CountsShape& counts,
                                        const FactorParams& p, std::int64_t positions);
[[nodiscard]] Peak fit_tucker_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p);
/// What measure() takes beside its arguments.
[[nodiscard]] Peak measure_memory(const LinearOps& ops, std::int64_t vocab, const FactorParams& p);

}  // namespace aloft::offset
