#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "pipeline/base/context.hpp"
#include "pipeline/spectra/spectra.hpp"

// Expansion by statistics instead of by flattening: K(γ) = C_E^-γ R C_U^-γ, with the ridge ρ(tr C/d)·I on
// both covariances. γ = 0 is the raw deviation R, ½ canonical correlations, 1 the regression (Newton) map.
// Source: Bach and Jordan, "A probabilistic interpretation of canonical correlation analysis", 2005, for γ =
// ½.

namespace aloft {

/// The whitening of every lag asked for, their covariances diagonalised as one batch. γ in [0, 1].
class Whitening {
 public:
  /// ridge: ρ >= 0. lags: 1-based, in any order, repeats allowed. Throws InputError if a covariance of one of
  /// them is not positive definite with that ridge.
  Whitening(Context& ctx, const Projections& projections, const std::vector<std::int32_t>& lags,
            double ridge);

  /// Antisymmetric part of K(γ) for every γ, [gammas][d, d]. lag: one of those asked for.
  [[nodiscard]] Matrix skew(std::int32_t lag, std::span<const double> gammas);
  /// Energy participation ratio of each of those parts; 0 if it is zero. From ‖A‖⁴/‖AᵀA‖², without its
  /// spectrum.
  [[nodiscard]] std::vector<double> participation_ratios(std::int32_t lag, std::span<const double> gammas);
  [[nodiscard]] double participation_ratio(std::int32_t lag, double gamma);

 private:
  struct Side {      ///< a covariance C of every lag, ridge included: C = vectors·diag(values)·vectorsᵀ
    Matrix vectors;  // [lags][d, d]
    std::vector<double> values;  // [lags][d] > 0
  };
  [[nodiscard]] static Side diagonalised(Context& ctx, const Matrix& covariances,
                                         const std::vector<std::int32_t>& lags, double ridge,
                                         const char* which);
  [[nodiscard]] std::int64_t item_of(std::int32_t lag) const;

  Context& ctx_;
  std::vector<std::int32_t> lags_;  // distinct, ascending: lags_[i] is item i of the batches
  Side source_, target_;
  Matrix rotated_;  // R in both eigenbases, [lags][d, d]
};

/// All that the whitening of those lags and find_gamma() allocate.
[[nodiscard]] Peak whiten_memory(const LinearOps& ops, std::int64_t d, std::vector<std::int32_t> lags);

struct WhitenedTarget {
  double gamma = 0;
  double max_pr = 0;     ///< the largest PR on the grid
  bool reached = false;  ///< PR(gamma) >= target; where not, gamma is where the grid's PR is largest
};

/// The smallest γ whose PR reaches the target, found on a grid over [0, 1] (PR is not monotone) and refined
/// to 1e-9 relative; γ = 0 if the raw map is there already.
[[nodiscard]] WhitenedTarget find_gamma(Context& ctx, Whitening& whitening, std::int32_t lag,
                                        double target_pr);

}  // namespace aloft
