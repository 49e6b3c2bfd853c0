#include "tests/decompositions.hpp"

#include <Eigen/Dense>
#include <algorithm>

namespace aloft::oracle {

Eigh eigh(const Dense& symmetric) {
  const Eigen::SelfAdjointEigenSolver<Dense> solver(symmetric);
  return {solver.eigenvalues(), solver.eigenvectors()};
}

Svd svd(const Dense& a) {
  const Eigen::BDCSVD<Dense> solver(a, Eigen::ComputeThinU | Eigen::ComputeThinV);
  return {solver.matrixU(), solver.singularValues(), solver.matrixV()};
}

Eigen::VectorXd singular_values(const Dense& a) {
  const auto m = a.rows(), n = a.cols();
  Dense both = Dense::Zero(m + n, m + n);
  both.topRightCorner(m, n) = a;
  both.bottomLeftCorner(n, m) = a.transpose();
  const Eigen::VectorXd ascending =
      Eigen::SelfAdjointEigenSolver<Dense>(both, Eigen::EigenvaluesOnly).eigenvalues();
  return ascending.reverse().head(std::min(m, n));
}

Dense orthogonal_factor(const Dense& a) { return Eigen::HouseholderQR<Dense>(a).householderQ(); }

Dense upper_cholesky(const Dense& positive) { return Eigen::LLT<Dense>(positive).matrixU(); }

Dense solve(const Dense& a, const Dense& b) { return Eigen::PartialPivLU<Dense>(a).solve(b); }

}  // namespace aloft::oracle
