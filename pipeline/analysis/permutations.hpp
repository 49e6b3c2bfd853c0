#pragma once
#include <cstdint>
#include <vector>

#include "pipeline/analysis/permutation_moments.hpp"
#include "pipeline/base/context.hpp"

// Signed permutations of the stream's coordinates, and what measurements become under them. A random one,
// x_ij → s_i s_j x_π(i)π(j), is an orthogonal change of coordinates: it leaves independent normal weights as
// they are in distribution, so a permutation test is exact for them.

namespace aloft::analysis {

/// The same `count` permutations for every layer, lag and circuit of a run.
class Permutations {
 public:
  /// None for d above `widest`.
  Permutations(std::int64_t d, std::int64_t count, std::uint64_t seed, std::int64_t widest = kWidestPermuted);
  [[nodiscard]] std::int64_t count() const { return count_; }
  /// No permutation is made: nulls are known by formula (permutation_moments.hpp).
  [[nodiscard]] bool by_formula() const { return by_formula_; }
  [[nodiscard]] std::int64_t d() const { return d_; }
  /// signed_index() [d] of permutation i. rows and columns(i) are independent of each other.
  [[nodiscard]] const std::vector<std::int32_t>& rows(std::int64_t i) const;
  [[nodiscard]] const std::vector<std::int32_t>& columns(std::int64_t i) const;

 private:
  std::int64_t d_;
  bool by_formula_;
  std::int64_t count_;
  std::vector<std::vector<std::int32_t>> rows_, columns_;
};

/// both: one permutation of both sides of a matrix; apart: rows and columns each by their own.
enum class Sides { both, apart };

/// [1 + permutations][n][m]
struct PermutedValues {
  std::int64_t n = 0, m = 0;
  std::vector<double> values;
  /// Of subject i and matrix j: as they are, then under each permutation.
  [[nodiscard]] std::vector<double> of(std::int64_t i, std::int64_t j) const;
};

/// ⟨s_i, x_j⟩ of every subject [n][d, d] and matrix [m][d, d], where x_j is permuted. Both contiguous.
[[nodiscard]] PermutedValues permuted_inner(Context& ctx, ConstMatrixView subjects, ConstMatrixView matrices,
                                            const Permutations& permutations, Sides sides);
/// ‖S_i X_jᵀ‖²/k of subspaces S [n][k, d] and X [m][k, d] with orthonormal rows, X's coordinates permuted:
/// the mean squared cosine of their principal angles.
[[nodiscard]] PermutedValues permuted_overlap(Context& ctx, ConstMatrixView subjects, ConstMatrixView spaces,
                                              const Permutations& permutations);

/// Bytes that either takes beside its arguments.
[[nodiscard]] std::uint64_t permuted_bytes(std::int64_t n, std::int64_t m, std::int64_t elements);

}  // namespace aloft::analysis
