#pragma once
#include <cstdint>
#include <vector>

// Shapes of singular-value spectra: the family the invariants recipe draws from, and what it is fitted
// to. A profile is descending and non-negative; only its shape counts, not its scale.

namespace aloft::recipes {

/// What the product Q Kᵀ of one layer should look like.
struct ProfileTarget {
  double effective_rank = 0;
  double top_energy = 0;
  std::int64_t top = 0;  ///< number of singular values the energy refers to
};

/// σ_i = (1 + i/c)^-a, i = 0..n−1.
struct PowerProfile {
  double c = 1, a = 1;
  [[nodiscard]] std::vector<double> sigma(std::int64_t n) const;
};
/// The profile that meets both targets for n values: for each a, c is set by the top energy (which falls with
/// c), and the effective rank then falls with a from a heavy tail to the exponential limit. Targets beyond
/// that range get the nearest end, with the top energy met.
[[nodiscard]] PowerProfile fit_profile(const ProfileTarget& target, std::int64_t n);

}  // namespace aloft::recipes
