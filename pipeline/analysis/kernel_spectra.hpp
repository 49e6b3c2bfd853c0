#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "pipeline/base/context.hpp"

// Spectra of products M = aᵀb, a and b [r, d], of which no d×d matrix is needed where r is small against d:
// with orthonormal bases W_a, W_b of their rows' spans (QR), M = W_a (W_aᵀaᵀ)(bW_b) W_bᵀ has the singular
// values of the r×r matrix in the middle, and a·bᵀ-like products of r×r its eigenvalues other than zero.

namespace aloft::analysis {

/// Of `batch` matrices M [d, d], whole or as factors.
struct Product {
  ConstMatrixView a, b;  ///< [batch][r, d]
  [[nodiscard]] std::int64_t d() const { return a.cols; }
  [[nodiscard]] std::int64_t batch() const { return a.batch; }
};

/// aᵀb [batch][d, d].
[[nodiscard]] Matrix whole(Context& ctx, const Product& m);

/// Singular values [batch][d], descending (zeros beyond the rank).
[[nodiscard]] std::vector<double> singular_values(Context& ctx, const Product& m);
/// Values of the planes of the antisymmetric part, [batch][d/2], descending; each is two singular values.
[[nodiscard]] std::vector<double> skew_planes(Context& ctx, const Product& m);
/// Σ|Re λ| / Σ|λ|, and Σ Re λ / Σ|λ|, of every item. 0 where all are zero.
struct EigenShares {
  std::vector<double> real, positive;
};
[[nodiscard]] EigenShares eigen_shares(Context& ctx, const Product& m);
/// The same of square matrices as they are.
[[nodiscard]] EigenShares eigen_shares(Context& ctx, ConstMatrixView m);

/// The strongest directions, k rows each, orthonormal: [batch][k, d].
struct TopSubspaces {
  Matrix left, right;  ///< of M's largest singular values: M ≈ leftᵀ … right
  Matrix skew;         ///< of the k/2 largest planes of M's antisymmetric part
};
/// @pre k even, k <= r and 2k <= d
[[nodiscard]] TopSubspaces top_subspaces(Context& ctx, const Product& m, std::int64_t k);

/// The same of square matrices as they are, with all their values: singular_values and skew_planes.
struct WholeSpectra {
  std::vector<double> sigma, planes;  ///< [batch][d], [batch][d/2]
  TopSubspaces top;
};
[[nodiscard]] WholeSpectra whole_spectra(Context& ctx, ConstMatrixView m, std::int64_t k);
[[nodiscard]] std::vector<double> skew_planes(Context& ctx, ConstMatrixView m);

/// Singular values [batch][min(rows, cols)] of matrices as they are.
[[nodiscard]] std::vector<double> values_of(Context& ctx, ConstMatrixView m);
/// Item i of `each` numbers.
[[nodiscard]] inline std::span<const double> item_of(const std::vector<double>& x, std::int64_t i,
                                                     std::int64_t each) {
  return {x.data() + i * each, static_cast<std::size_t>(each)};
}

}  // namespace aloft::analysis
