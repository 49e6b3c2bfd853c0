#include <algorithm>

#include "host/error.hpp"
#include "kernels/cuda/eigenvalue_order.cuh"
#include "kernels/cuda/linear_ops.hpp"
#include "kernels/cuda/magnitude.cuh"
#include "kernels/cuda/transpose.cuh"

namespace aloft::cuda {

void CudaLinearOps::eigh(ConstMatrixView a, double* values, MatrixView v) {
  const std::int64_t n = a.rows;
  expects(a.cols == n && v.rows == n && v.cols == n && v.batch == a.batch,
          "eigh: a and v [n, n], same batch");
  expects(a.contiguous() && v.contiguous(), "eigh: contiguous");
  if (a.size() == 0) return;
  const cudaStream_t stream = device_.stream();
  const Magnitudes largest = require_finite(device_, "eigh", a, Part::lower);
  Matrix work(device_, n, n, a.batch);
  normalised(a, largest.data(), work.data.data(), stream);
  vendor_.eigh(work.data.data(), n, a.batch, values, true);
  settle_ascending(values, n, a.batch, stream);
  restore_magnitude(values, n, a.batch, largest.data(), stream);
  transpose_dense(work.cview(), nullptr, v, stream);  // eigenvectors came as rows
}

void CudaLinearOps::eigh_top(ConstMatrixView a, double* values, MatrixView top) {
  const std::int64_t n = a.rows, k = top.data == nullptr ? 0 : top.rows;
  expects(a.cols == n && k <= n && (k == 0 || (top.cols == n && top.batch == a.batch)),
          "eigh_top: a [n, n], top [k, n], k <= n, same batch");
  expects(a.contiguous() && top.contiguous(), "eigh_top: contiguous");
  if (a.size() == 0) return;
  const cudaStream_t stream = device_.stream();
  const Magnitudes largest = require_finite(device_, "eigh_top", a, Part::lower);
  Matrix work(device_, n, n, a.batch);
  normalised(a, largest.data(), work.data.data(), stream);
  vendor_.eigh(work.data.data(), n, a.batch, values, k > 0);
  settle_ascending(values, n, a.batch, stream);
  restore_magnitude(values, n, a.batch, largest.data(), stream);
  if (k > 0) copy(device_, work.cview().row_block(n - k, k), top);  // the vectors are rows already
}

void CudaLinearOps::svd(ConstMatrixView a, MatrixView u, double* sigma, MatrixView vt) {
  const std::int64_t m = a.rows, n = a.cols, k = std::min(m, n);
  expects(a.contiguous() && u.contiguous() && vt.contiguous(), "svd: contiguous");
  expects(u.data == nullptr || (u.rows == m && u.cols == k && u.batch == a.batch), "svd: u [m, min(m, n)]");
  expects(vt.data == nullptr || (vt.rows == k && vt.cols == n && vt.batch == a.batch),
          "svd: vt [min(m, n), n]");
  if (a.size() == 0) return;
  const cudaStream_t stream = device_.stream();
  const Magnitudes largest = require_finite(device_, "svd", a, Part::all);
  const bool vectors = u.data != nullptr || vt.data != nullptr, tall = m > n;
  Matrix work(device_, m, n, a.batch);
  normalised(a, largest.data(), work.data.data(), stream);
  // The library wants no more rows than columns: a tall matrix goes in as its transpose v·diag(sigma)·uᵀ, and
  // its factors, exchanged, come back through transpositions of their own.
  Matrix left, right;  // what the caller's views cannot take as it comes
  double *first = vectors ? u.data : nullptr, *second = vectors ? vt.data : nullptr;
  if (tall) {
    Matrix flipped(device_, n, m, a.batch);
    transpose_dense(work.cview(), nullptr, flipped.view(), stream);
    work = std::move(flipped);
  }
  if (vectors && (tall || first == nullptr)) first = (left = Matrix(device_, k, k, a.batch)).data.data();
  if (vectors && (tall || second == nullptr))
    second = (right = Matrix(device_, k, std::max(m, n), a.batch)).data.data();
  vendor_.svd(work.data.data(), k, std::max(m, n), a.batch, first, sigma, second);
  restore_magnitude(sigma, k, a.batch, largest.data(), stream);
  if (tall && vt.data != nullptr) transpose_dense(left.cview(), nullptr, vt, stream);
  if (tall && u.data != nullptr) transpose_dense(right.cview(), nullptr, u, stream);
}

void CudaLinearOps::eigenvalues(ConstMatrixView a, double* values) {
  const std::int64_t n = a.rows;
  expects(a.cols == n && a.contiguous(), "eigenvalues: a [n, n], contiguous");
  if (a.size() == 0) return;
  const cudaStream_t stream = device_.stream();
  const Magnitudes largest = require_finite(device_, "eigenvalues", a, Part::all);
  Matrix work(device_, n, n, a.batch);
  normalised(a, largest.data(), work.data.data(), stream);
  vendor_.eigenvalues(work.data.data(), n, a.batch, values);
  restore_magnitude(values, 2 * n, a.batch, largest.data(), stream);
}

}  // namespace aloft::cuda
