#include "host/error.hpp"
#include "kernels/cuda/linear_ops.hpp"
#include "kernels/cuda/magnitude.cuh"
#include "kernels/cuda/transpose.cuh"

namespace aloft::cuda {

// No scaling here: reflectors are made from norms that neither LAPACK's dlarfg nor cuSOLVER's overflows short
// of the numbers' own range, and Q does not depend on y's magnitude.
void CudaLinearOps::orthonormalize(MatrixView y) {
  expects(y.rows >= y.cols && y.contiguous(), "orthonormalize: y [m, k] has m >= k and is contiguous");
  if (y.size() == 0) return;
  (void)require_finite(device_, "orthonormalize", y, Part::all);
  Matrix columns(device_, y.cols, y.rows, y.batch);  // row-major [k, m] is column-major [m, k]
  Buffer<double> diagonal_r(device_, static_cast<std::size_t>(y.batch * y.cols));
  transpose_dense(y, nullptr, columns.view(), device_.stream());
  vendor_.qr(columns.data.data(), y.rows, y.cols, y.batch, diagonal_r.data());
  transpose_dense(columns.cview(), diagonal_r.data(), y, device_.stream());
}

}  // namespace aloft::cuda
