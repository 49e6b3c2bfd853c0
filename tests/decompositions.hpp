#pragma once
#include <Eigen/Core>

// Eigen's decompositions, compiled once: every file that names one of its solvers compiles for minutes.

namespace aloft::oracle {

using Dense = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

struct Eigh {
  Eigen::VectorXd values;  ///< ascending
  Dense vectors;           ///< its columns
};
[[nodiscard]] Eigh eigh(const Dense& symmetric);

struct Svd {
  Dense u;                 ///< [rows, min(rows, cols)]
  Eigen::VectorXd values;  ///< descending
  Dense v;                 ///< [cols, min(rows, cols)]
};
/// From the eigenvectors of [0 a; aᵀ 0]: those of zero are no basis of anything. (Eigen's BDCSVD compiles for
/// 20 seconds, and is wrong about values that repeat themselves.)
[[nodiscard]] Svd svd(const Dense& a);

/// Descending; without the vectors, which take longer.
[[nodiscard]] Eigen::VectorXd singular_values(const Dense& a);

/// Q [n, n] of the QR decomposition of a square matrix.
[[nodiscard]] Dense orthogonal_factor(const Dense& a);

/// R [n, n], upper triangular, with a = Rᵀ R.
[[nodiscard]] Dense upper_cholesky(const Dense& positive);

/// x with a x = b.
[[nodiscard]] Dense solve(const Dense& a, const Dense& b);

}  // namespace aloft::oracle
