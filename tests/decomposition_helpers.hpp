#pragma once
#include <Eigen/Eigenvalues>
#include <Eigen/QR>

#include "tests/conformance.hpp"

// What the tests of decompositions compare with.

namespace aloft::conformance {

/// Singular values, descending: the largest eigenvalues of [0 a; aᵀ 0]. (Eigen's SVDs take minutes to
/// compile.)
inline Eigen::VectorXd singular_values(const Dense& a) {
  const auto m = a.rows(), n = a.cols();
  Dense both = Dense::Zero(m + n, m + n);
  both.topRightCorner(m, n) = a;
  both.bottomLeftCorner(n, m) = a.transpose();
  const Eigen::VectorXd ascending =
      Eigen::SelfAdjointEigenSolver<Dense>(both, Eigen::EigenvaluesOnly).eigenvalues();
  return ascending.reverse().head(std::min(m, n));
}

inline double distance_from_identity(const Dense& gram) {
  return (gram - Dense::Identity(gram.rows(), gram.cols())).norm();
}

inline Dense random_orthogonal(std::int64_t n, unsigned seed) {
  const Dense g = random_dense(n, n, seed);
  return Eigen::HouseholderQR<Dense>(g).householderQ() * Dense::Identity(n, n);
}

}  // namespace aloft::conformance
