#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "pipeline/base/context.hpp"

// Spectra of products M = aᵀb, a and b [r, d], of which no d×d matrix is needed where r is small against d.
// Rows x [r, d] are root·W, W [r, d] with orthonormal rows: with x xᵀ = VΛVᵀ, root = VΛ^½ and W = Λ^−½Vᵀx.
// Then M = W_aᵀ (root_aᵀ root_b) W_b has the singular values of the r×r matrix in the middle, and its
// antisymmetric part (aᵀb − bᵀa)/2 those of a 2r×2r one in the span of both. b aᵀ has M's eigenvalues other
// than zero. (A Gram matrix' root costs a fraction of a QR
// factorisation; what is 1e-7 of the largest is lost.)

namespace aloft::analysis {

/// Of `batch` matrices M [d, d], as factors.
struct Product {
  ConstMatrixView a, b;  ///< [batch][r, d]
  [[nodiscard]] std::int64_t d() const { return a.cols; }
  [[nodiscard]] std::int64_t batch() const { return a.batch; }
};

/// aᵀb [batch][d, d].
[[nodiscard]] Matrix whole(Context& ctx, const Product& m);

/// The strongest directions, k rows each, orthonormal: [batch][k, d]. Where M has fewer, rows of zeros.
struct TopSubspaces {
  Matrix left, right;  ///< of M's largest singular values: M ≈ leftᵀ … right
  Matrix skew;         ///< of the k/2 largest planes of M's antisymmetric part
};

struct KernelSpectra {
  std::vector<double> sigma;   ///< [batch][d] singular values, descending (zeros beyond the rank)
  std::vector<double> planes;  ///< [batch][d/2] of the antisymmetric part, descending; each is two values
  TopSubspaces top;            ///< empty where k = 0
};
/// @pre k even, k <= r and 2k <= d
[[nodiscard]] KernelSpectra kernel_spectra(Context& ctx, const Product& m, std::int64_t k);
/// The same of square matrices as they are.
[[nodiscard]] KernelSpectra kernel_spectra(Context& ctx, ConstMatrixView m, std::int64_t k);

/// Σ|Re λ| / Σ|λ|, and Σ Re λ / Σ|λ|, of every item. 0 where all are zero.
struct EigenShares {
  std::vector<double> real, positive;
};
[[nodiscard]] EigenShares eigen_shares(Context& ctx, const Product& m);
/// The same of square matrices as they are.
[[nodiscard]] EigenShares eigen_shares(Context& ctx, ConstMatrixView m);

/// Singular values [batch][min(rows, cols)] of matrices as they are.
[[nodiscard]] std::vector<double> values_of(Context& ctx, ConstMatrixView m);
/// Item i of `each` numbers.
[[nodiscard]] inline std::span<const double> item_of(const std::vector<double>& x, std::int64_t i,
                                                     std::int64_t each) {
  return {x.data() + i * each, static_cast<std::size_t>(each)};
}

}  // namespace aloft::analysis
