#pragma once
#include <cstdint>
#include <limits>
#include <vector>

#include "pipeline/base/context.hpp"

// Spectra of large matrices from the eigenvalues of M Mᵀ. Reducing a symmetric matrix reads half of it, each
// element once for two uses, where the SVD's reduction reads everything twice: at 2,048 rows a quarter of the
// time. The price: what is below 1e-7 σ₁ is rounding, and 0 here. All that is measured of spectra
// (participation ratios, entropies, cosines) is sums in which it counts nothing.

namespace aloft::analysis {

/// Sides above this are measured so; up to here by the SVD.
inline constexpr std::int64_t kWidestBySvd = 768;

/// Eigenvalues of a Gram matrix [n, n] below this share of the largest are rounding.
[[nodiscard]] constexpr double rounding_of(std::int64_t n) {
  return static_cast<double>(n) * std::numeric_limits<double>::epsilon();
}

/// Singular values [batch][min(rows, cols)], descending.
[[nodiscard]] std::vector<double> gram_values(Context& ctx, ConstMatrixView m);
/// The same of square m with the k strongest directions, orthonormal rows [batch][k, d].
struct GramSpectra {
  std::vector<double> sigma;
  Matrix left, right;
};
[[nodiscard]] GramSpectra gram_spectra(Context& ctx, ConstMatrixView m, std::int64_t k);

/// Planes [batch][d/2] of antisymmetric a, descending; rows: those of the k/2 strongest planes, [batch][k, d]
/// (k even; 0: none).
struct GramPlanes {
  std::vector<double> planes;
  Matrix rows;
};
[[nodiscard]] GramPlanes gram_planes(Context& ctx, ConstMatrixView a, std::int64_t k);

}  // namespace aloft::analysis
