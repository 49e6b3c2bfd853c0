#pragma once
#include <vector>

#include "pipeline/base/krylov_subspace.hpp"
#include "pipeline/offset/estimators.hpp"

namespace aloft::offset {

/// M_l = N_l − (N_l p) 1ᵀ of every lag l, N_l = log(1 + J_l/(κ p_j)) on the pairs that occur: the smoothed
/// log-ratio log((J[i,j] + κ p_j) / ((J[i,·] + κ) p_j)) up to what is constant in j, which softmax ignores.
/// No V×V matrix is ever formed.
class LogRatios {
 public:
  LogRatios(Context& ctx, const Counts& counts, const FactorParams& p, double kappa);

  [[nodiscard]] std::int64_t vocab() const { return vocab_; }
  [[nodiscard]] std::int32_t lags() const { return static_cast<std::int32_t>(lags_.size()); }
  [[nodiscard]] const std::vector<double>& p() const { return p_; }     ///< smoothed unigram
  [[nodiscard]] const Buffer<double>& share() const { return share_; }  ///< the same on the device

  /// y = M_l x; x, y [vocab, k].
  void apply(std::int32_t l, ConstMatrixView x, MatrixView y) const;
  /// Largest k eigenpairs of Σ w_l² X_l X_lᵀ (op none: of rows) or Σ w_l² X_lᵀ X_l, X_l = diag(√p) M_l
  /// diag(√p); w_l: how much each lag shapes the shared bases.
  [[nodiscard]] Subspace basis(Op op, std::int64_t k, std::uint64_t seed) const;

 private:
  struct Lag {
    RealCsr n;    // N
    Matrix mean;  // N p, [vocab, 1]
  };
  Context& ctx_;
  std::int64_t vocab_;
  std::vector<double> p_;
  Buffer<double> share_;
  Matrix ones_;
  std::vector<Lag> lags_;
};

/// Of the object, and of basis() beside it.
[[nodiscard]] Footprint log_ratios_held(const CountsShape& counts, const FactorParams& p);
[[nodiscard]] Peak log_ratios_basis_memory(const LinearOps& ops, const CountsShape& counts,
                                           const FactorParams& p, std::int64_t k);

}  // namespace aloft::offset
