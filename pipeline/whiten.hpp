#pragma once
#include <cstdint>

#include "pipeline/context.hpp"
#include "pipeline/values.hpp"

// Expansion by statistics instead of by flattening: K(γ) = C_E^-γ R C_U^-γ, with the ridge ρ(tr C/d)·I on
// both covariances. γ = 0 is the raw deviation R, ½ canonical correlations, 1 the regression (Newton) map.
// Source: Bach and Jordan, "A probabilistic interpretation of canonical correlation analysis", 2005, for γ =
// ½.

namespace aloft {

/// One lag's whitening, its covariances already diagonalised. γ in [0, 1].
class Whitening {
 public:
  /// ridge: ρ >= 0. `lag` is 1-based. Throws InputError if a covariance is not positive definite with that
  /// ridge.
  Whitening(Context& ctx, const Projections& projections, std::int32_t lag, double ridge);

  /// Antisymmetric part of K(γ), [d, d].
  [[nodiscard]] Matrix skew(double gamma);
  /// Energy participation ratio of that part; 0 if it is zero. From ‖A‖⁴/‖AᵀA‖², without its spectrum.
  [[nodiscard]] double participation_ratio(double gamma);

 private:
  Context& ctx_;
  Matrix source_vectors_, target_vectors_;             // [d, d], columns
  std::vector<double> source_values_, target_values_;  // [d] > 0
  Matrix rotated_;                                     // R in both eigenbases
};

struct WhitenedTarget {
  double gamma = 0;
  double max_pr = 0;     ///< the largest PR on the grid
  bool reached = false;  ///< PR(gamma) >= target; where not, gamma is where the grid's PR is largest
};

/// The smallest γ whose PR reaches the target, found on a grid over [0, 1] (PR is not monotone) and refined
/// to 1e-9 relative; γ = 0 if the raw map is there already.
[[nodiscard]] WhitenedTarget find_gamma(Context& ctx, Whitening& whitening, double target_pr);

}  // namespace aloft
