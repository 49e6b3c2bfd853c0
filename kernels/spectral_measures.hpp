#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/ops.hpp"

// Figures of merit of spectra and matrices that are already on the host. Singular values need no order and
// are >= 0; an empty or all-zero spectrum has the value 0 everywhere. An antisymmetric d x d matrix has its
// singular values in equal pairs, of which skew_spectrum() returns one each: `paired` gives the full list of
// d.

namespace aloft {

/// The full spectrum of an antisymmetric d x d matrix from the m = d/2 (floor) values of its planes: each
/// twice, and a zero for odd d.
[[nodiscard]] std::vector<double> paired(std::span<const double> planes, std::int64_t d);

/// Energy participation ratio (Σσ²)²/Σσ⁴: how many equal singular values would spread the energy as widely.
/// Between 1 and the rank. Of a paired spectrum it is twice that of the planes' values.
[[nodiscard]] double participation_ratio(std::span<const double> sigma);
/// The same of the full spectrum of an antisymmetric matrix, from the values of its planes.
[[nodiscard]] inline double paired_participation_ratio(std::span<const double> planes) {
  return 2 * participation_ratio(planes);
}
/// Linear participation ratio (Σσ)²/Σσ².
[[nodiscard]] double linear_participation_ratio(std::span<const double> sigma);
/// exp(H(σ/Σσ)), H the entropy in nats (Roy and Vetterli, 2007).
[[nodiscard]] double effective_rank(std::span<const double> sigma);
/// Share of Σσ² in the k largest.
[[nodiscard]] double top_energy(std::span<const double> sigma, std::int64_t k);

struct SpectrumMeasures {
  double pr_energy = 0, pr_linear = 0, effective_rank = 0;
  double top8_energy = 0, top32_energy = 0;
};
[[nodiscard]] SpectrumMeasures measure_spectrum(std::span<const double> sigma);

/// Cosine of two spectra, each sorted first; same length. Blind to directions. 0 if either is zero.
[[nodiscard]] double spectral_cosine(std::span<const double> a, std::span<const double> b);
/// ⟨X,Y⟩/(‖X‖‖Y‖) of two matrices given as their elements in the same order. 0 if either is zero.
[[nodiscard]] double matrix_cosine(std::span<const double> x, std::span<const double> y);
/// Mean squared cosine of the principal angles between two subspaces of R^n of dimension k, = ‖A Bᵀ‖²/k; a,
/// b: [k, n] with orthonormal rows. 1: the same subspace; k/n is what a random one has on average.
[[nodiscard]] double subspace_overlap(std::span<const double> a, std::span<const double> b, std::int64_t k,
                                      std::int64_t n);

/// KL(p‖q) of the first min(size) singular values, each profile divided by its sum there. Nats; NaN
/// where one of them is all zeros.
[[nodiscard]] double profile_kl(const std::vector<double>& p, const std::vector<double>& q);
/// The singular values, largest first, that a large [rows, cols] matrix of independent entries has on
/// average: the quantiles (i + ½)/n of the Marchenko–Pastur law, n = min(rows, cols), for entries of variance
/// 1/max(rows, cols).
[[nodiscard]] std::vector<double> marchenko_pastur(std::int64_t rows, std::int64_t cols);

/// How antisymmetric a matrix M is, M_A = (M − Mᵀ)/2. Anything with ⟨M,Mᵀ⟩ = 0 has the ratio 1/√2.
struct Asymmetry {
  double ratio = 0;   ///< ‖M_A‖/‖M‖
  double energy = 0;  ///< ‖M_A‖²/‖M‖²
};
[[nodiscard]] Asymmetry asymmetry(const TransposeInner& m);

}  // namespace aloft
