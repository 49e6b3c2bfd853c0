#pragma once
#include <cstdint>
#include <span>
#include <vector>

// Spreading a spectrum: given singular values σ and a target for their energy participation ratio
// PR = (Σσ²)²/Σσ⁴, new values σ' with PR(σ') = target and ‖σ'‖ = ‖σ‖, mode by mode in the same order.
//
// `multiplicity` is how many equal singular values each entry stands for: 1, or 2 for the planes of an
// antisymmetric matrix. PR, targets and ranks are those of the full spectrum, i.e. multiplicity × that of the
// entries. Modes at or below 1e-12 σ₁ count as zero and stay exactly zero; the rank is what remains.
//
// All functions throw UsageError for a target above the rank, or below what σ can be sharpened to
// (multiplicity × the number of modes equal to σ₁), and for an all-zero spectrum.

namespace aloft {

struct ExpandedSpectrum {
  std::vector<double> sigma;  ///< same order as the input
  double parameter = 0;       ///< α of tempering, t of pareto (see there)
  bool tempered = false;  ///< pareto: the target lies below PR(σ), so σ was tempered and parameter is its α
};

/// σ' ∝ σ^α. α > 1 sharpens (target below PR(σ)), α < 1 spreads, α = 0 (all non-zero modes equal) at the
/// rank.
[[nodiscard]] ExpandedSpectrum temper(std::span<const double> sigma, double target_pr, int multiplicity);

/// The σ' with the largest cosine to σ among all with PR(σ') = target, for targets from PR(σ) up to the rank;
/// below PR(σ) it tempers. Stationarity of Σσσ' on {Σσ'² = 1, Σσ'⁴ = 1/PR} gives one cubic for all modes,
///   σ/σ₁ = s + t s³ (t >= 0),   and past the limit t → ∞ (σ' ∝ σ^⅓)   σ/σ₁ = −s + |t| s³ (t < 0),   σ' ∝ s,
/// with one positive root each; t → −0 is the flat spectrum. One parameter runs through both branches
/// (σ/σ₁ = a s + s³, t = a⁻³) and PR falls strictly in a, so the stationary point with the wanted PR is
/// unique: it is the maximum.
[[nodiscard]] ExpandedSpectrum pareto(std::span<const double> sigma, double target_pr, int multiplicity);

/// How much of σ's shape a participation ratio costs: cosines to σ of both methods.
struct FrontierPoint {
  double target = 0;
  double pareto_cosine = 0;
  double temper_cosine = 0;
};
/// Targets that σ cannot reach are left out.
[[nodiscard]] std::vector<FrontierPoint> frontier(std::span<const double> sigma,
                                                  std::span<const double> targets, int multiplicity);

}  // namespace aloft
