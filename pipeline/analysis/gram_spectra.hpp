#pragma once
#include <cstdint>
#include <vector>

#include "pipeline/base/context.hpp"

// Spectra of large matrices from the eigenvalues of M Mᵀ. Reducing a symmetric matrix reads half of it, each
// element once for two uses, where the SVD's reduction reads everything twice: at 2,048 rows a quarter of the
// time. The price: values are exact to about 1e-8 σ₁ only, the smallest of them to no relative accuracy. All
// that is measured of spectra (participation ratios, entropies, cosines) is sums in which those count
// nothing.

namespace aloft::analysis {

/// Sides above this are measured so; up to here by the SVD.
inline constexpr std::int64_t kWidestBySvd = 768;

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
