#pragma once
#include <vector>

#include "pipeline/offset/estimators.hpp"

namespace aloft::offset {

/// What the discriminant is made of whatever its scalars are: S, C = E[x xᵀ] = Q Λ Qᵀ, and the class sums. In
/// the axes of Q, (C + λ tr(C)/D I)^-1 is diagonal, so a choice of λ is a choice of D numbers, and one of κ a
/// choice of a factor for each class.
class DiscriminantBasis {
 public:
  DiscriminantBasis(Context& ctx, const Counts& counts, const FactorParams& p);

  /// Adds the pairs and tokens of `slice` to class sums and unigram. S and C stay what they were: for a slice
  /// that is too small a part of the text to change them.
  void add(const Counts& slice);

  [[nodiscard]] std::int64_t vocab() const { return source_.rows; }
  [[nodiscard]] std::int64_t width() const { return lags_ * source_.cols; }
  [[nodiscard]] const Matrix& source() const { return source_; }        ///< S [V, d_s]
  [[nodiscard]] const std::vector<double>& p() const { return p_; }     ///< smoothed unigram
  [[nodiscard]] const Buffer<double>& share() const { return share_; }  ///< the same on the device
  [[nodiscard]] const Matrix& moments() const { return moments_; }      ///< C [D, D]
  [[nodiscard]] const Matrix& axes() const { return axes_; }            ///< Q [D, D], axes as columns
  [[nodiscard]] const Matrix& sums() const { return sums_; }            ///< J_{a+1}ᵀ S side by side, [V, D]
  [[nodiscard]] Matrix take_sums() { return std::move(sums_); }

  /// 1/(Λ_i + λ tr(C)/D), [D].
  [[nodiscard]] std::vector<double> inverse(double ridge) const;
  /// 1/(count_j + κ), [V]: times class sums, the shrunk class means μ_j = E[x | next = j] c_j/(c_j + κ).
  [[nodiscard]] std::vector<double> shrinkage(double kappa) const;
  /// x_jᵀ (C + λ tr(C)/D I)^-1 x_j of the class sums x_j of these tokens, in their order.
  [[nodiscard]] std::vector<double> evidence(double ridge, const std::vector<TokenId>& tokens) const;
  /// (Sᵀ D S + ridge)^power [d_s, d_s], for ±1/2.
  [[nodiscard]] Matrix source_gram_root(double power) const;

 private:
  void set_unigram(std::vector<std::uint64_t> unigram);

  Context& ctx_;
  std::int32_t lags_;
  std::vector<std::uint64_t> unigram_;
  std::vector<double> p_;
  Buffer<double> share_;
  Matrix source_, sums_, moments_, axes_;
  std::vector<double> lambda_;
  double trace_mean_ = 0;
};

/// Of its constructor, of add(), of evidence() for all tokens, and of what stays.
[[nodiscard]] Peak discriminant_basis_memory(const LinearOps& ops, const CountsShape& counts,
                                             const FactorParams& p);
[[nodiscard]] Peak discriminant_basis_add_memory(const LinearOps& ops, const CountsShape& slice,
                                                 const FactorParams& p);
[[nodiscard]] Footprint discriminant_evidence_memory(const CountsShape& counts, const FactorParams& p);
[[nodiscard]] Footprint discriminant_basis_held(const CountsShape& counts, const FactorParams& p);

}  // namespace aloft::offset
