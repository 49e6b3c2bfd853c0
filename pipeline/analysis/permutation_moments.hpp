#pragma once
#include <cstdint>
#include <vector>

#include "pipeline/base/context.hpp"

// What signed permutations do on average, by formula: for models so wide that hundreds of permuted d×d
// matrices would take hours. With independent random signs every product of four elements averages to zero
// but where indices pair up, so for P a random signed permutation
//   E ⟨M, P X Pᵀ⟩ = tr M tr X / d
//   Var           = D(M) D(X)/(d − 1) + (‖M°‖²‖X°‖² + ⟨M°,M°ᵀ⟩⟨X°,X°ᵀ⟩)/(d(d − 1))
// with M° = M without its diagonal and D(M) = Σ (m_ii − tr M/d)². Sums of millions of such terms are normal
// but for kernels that live on a few coordinates.

namespace aloft::analysis {

/// Models wider than this have nulls by formula in place of permutations.
inline constexpr std::int64_t kWidestPermuted = 768;

struct NullMoments {
  double mean = 0, sd = 0;
};

/// What the formula needs of one matrix.
struct ConjugationStats {
  double trace = 0, diagonal2 = 0;        ///< Σ m_ii, Σ m_ii²
  double norm2 = 0, transpose_inner = 0;  ///< ‖M‖², ⟨M, Mᵀ⟩
};
/// Of every item of m [batch][d, d], whose ‖M‖² and ⟨M, Mᵀ⟩ the caller knows: [batch] each.
[[nodiscard]] std::vector<ConjugationStats> conjugation_stats(Context& ctx, ConstMatrixView m,
                                                              const std::vector<double>& norm2,
                                                              const std::vector<double>& transpose_inner);
/// Of the projections on the spans of orthonormal rows [batch][k, d], of which some may be zero.
[[nodiscard]] std::vector<ConjugationStats> projection_stats(Context& ctx, ConstMatrixView rows);
/// Of ⟨m, P x Pᵀ⟩.
[[nodiscard]] NullMoments conjugation_moments(const ConjugationStats& m, const ConjugationStats& x,
                                              std::int64_t d);

}  // namespace aloft::analysis
