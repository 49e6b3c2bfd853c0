#include "tests/decompositions.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>

namespace aloft::oracle {

Eigh eigh(const Dense& symmetric) {
  const Eigen::SelfAdjointEigenSolver<Dense> solver(symmetric);
  return {solver.eigenvalues(), solver.eigenvectors()};
}

namespace {
/// Its eigenvalues are the singular values of a, once with each sign, and zeros; (u, v)/√2 are its
/// eigenvectors.
Dense jordan_wielandt(const Dense& a) {
  const auto m = a.rows(), n = a.cols();
  Dense both = Dense::Zero(m + n, m + n);
  both.topRightCorner(m, n) = a;
  both.bottomLeftCorner(n, m) = a.transpose();
  return both;
}
}  // namespace

Svd svd(const Dense& a) {
  const Eigh all = eigh(jordan_wielandt(a));
  const auto rank = std::min(a.rows(), a.cols());
  const Dense vectors = std::sqrt(2.0) * all.vectors.rowwise().reverse().leftCols(rank);
  return {vectors.topRows(a.rows()), all.values.reverse().head(rank), vectors.bottomRows(a.cols())};
}

Eigen::VectorXd singular_values(const Dense& a) {
  const Eigen::VectorXd ascending =
      Eigen::SelfAdjointEigenSolver<Dense>(jordan_wielandt(a), Eigen::EigenvaluesOnly).eigenvalues();
  return ascending.reverse().head(std::min(a.rows(), a.cols()));
}

Dense orthogonal_factor(const Dense& a) { return Eigen::HouseholderQR<Dense>(a).householderQ(); }

Dense upper_cholesky(const Dense& positive) { return Eigen::LLT<Dense>(positive).matrixU(); }

Dense solve(const Dense& a, const Dense& b) { return Eigen::PartialPivLU<Dense>(a).solve(b); }

}  // namespace aloft::oracle
