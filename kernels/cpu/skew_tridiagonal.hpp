#pragma once
#include <cstdint>
#include <vector>

#include "kernels/cpu/columns.hpp"

namespace aloft::cpu {

/// q·t·qᵀ of a real antisymmetric matrix: t is antisymmetric and tridiagonal, q the product H_0 H_1 … of
/// Householder reflectors H_i = 1 − tau_i v_i v_iᵀ.
struct SkewTridiagonal {
  static constexpr std::int64_t kBlock = 32;  ///< reflectors that apply_q applies at once

  std::int64_t n = 0;
  std::vector<double> below;  ///< [n − 1] t[i+1][i]; t[i][i+1] is its negative
  /// [n, n]: v_i in column i, rows i + 1 and below. v_i begins with 1, but is 0 where tau_i is; the rows from
  /// the start of its block down to i are 0, so that a block of reflectors is a plain matrix.
  Columns reflectors;
  std::vector<double> tau;  ///< [n − 1]

  /// Replaces the `columns` column-major vectors [n, columns] of each side by q times them. Free OpenMP
  /// workers take part; their number does not change the bits.
  void apply_q(double* left, double* right, std::int64_t columns) const;
};

/// a: row-major [n, n]; only the strict lower triangle is read.
[[nodiscard]] SkewTridiagonal reduce_skew(const double* a, std::int64_t n);

}  // namespace aloft::cpu
