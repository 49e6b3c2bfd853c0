#pragma once
#include <cstdint>
#include <vector>

namespace aloft::cpu {

/// q·t·qᵀ of a real antisymmetric matrix: t is antisymmetric and tridiagonal, q a product of Householder
/// reflectors.
struct SkewTridiagonal {
  std::int64_t n = 0;
  std::vector<double> below;  ///< [n − 1] t[i+1][i]; t[i][i+1] is its negative
  std::vector<double>
      reflectors;  ///< column-major [n, n]: v_i below the subdiagonal of column i, as LAPACK keeps them
  std::vector<double> tau;  ///< [n − 1]

  /// Replaces the `columns` column-major vectors x [n, columns] by q·x.
  void apply_q(double* x, std::int64_t columns) const;
};

/// a: row-major [n, n]; only the strict lower triangle is read.
[[nodiscard]] SkewTridiagonal reduce_skew(const double* a, std::int64_t n);

}  // namespace aloft::cpu
