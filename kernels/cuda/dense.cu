#include "host/cuda_check.hpp"
#include "host/error.hpp"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_ops.hpp"

namespace aloft::cuda {
namespace {

constexpr unsigned kAcross = 32, kDown = 8;               // threads of a block over columns and rows
constexpr std::int64_t kMaxAcross = 32, kMaxDown = 4096;  // blocks; beyond that each thread strides

// Columns along x and rows along y, so that no thread divides to find where it is.
template <class T>
__global__ __launch_bounds__(kAcross* kDown) void scale_rows_and_columns(MatrixViewOf<T> x,
                                                                         const double* row_scale,
                                                                         const double* column_scale,
                                                                         double factor) {
  const std::int64_t rows = x.batch * x.rows, step = std::int64_t{gridDim.y} * kDown;
  for (std::int64_t r = std::int64_t{blockIdx.y} * kDown + threadIdx.y; r < rows; r += step) {
    const double s = factor * (row_scale == nullptr ? 1.0 : row_scale[r % x.rows]);
    T* const row = x.row(r);
    for (std::int64_t j = first_element(); j < x.cols; j += element_stride())
      row[j] = static_cast<T>(row[j] * (column_scale == nullptr ? s : s * column_scale[j]));
  }
}

template <class T>
void scale_by(CudaDevice& device, MatrixViewOf<T> x, const double* row_scale, const double* column_scale,
              double factor) {
  if (x.size() == 0) return;
  const std::int64_t across = (x.cols + kAcross - 1) / kAcross, down = (x.batch * x.rows + kDown - 1) / kDown;
  const dim3 grid(static_cast<unsigned>(std::min(across, kMaxAcross)),
                  static_cast<unsigned>(std::min(down, kMaxDown)));
  check(launch(scale_rows_and_columns<T>, grid, dim3(kAcross, kDown), 0, device.stream(), x, row_scale,
               column_scale, factor));
}

template <class T>
void multiply(CudaDevice& device, Vendor& vendor, T alpha, Op op_a, MatrixViewOf<const T> a, Op op_b,
              MatrixViewOf<const T> b, T beta, MatrixViewOf<T> c) {
  const bool a_flipped = op_a == Op::transpose, b_flipped = op_b == Op::transpose;
  const std::int64_t inner = a_flipped ? a.rows : a.cols;
  expects((a_flipped ? a.cols : a.rows) == c.rows && (b_flipped ? b.cols : b.rows) == inner &&
              (b_flipped ? b.rows : b.cols) == c.cols,
          "gemm: op(a) [m, k], op(b) [k, n], c [m, n]");
  expects((a.batch == c.batch || a.batch == 1) && (b.batch == c.batch || b.batch == 1),
          "gemm: a and b have c's batch or 1");
  if (c.size() == 0) return;
  if (inner == 0) {  // a product of nothing: c = beta·c, and c is not read when beta is 0
    if (beta == 0) return zero(device, c);
    return scale_by(device, c, nullptr, nullptr, static_cast<double>(beta));
  }
  const auto operand = [](MatrixViewOf<const T> m, bool flipped) {
    return Vendor::OperandOf<T>{m.data, m.ld, m.batch == 1 ? 0 : m.stride, flipped};
  };
  vendor.gemm(c.rows, c.cols, inner, alpha, operand(a, a_flipped), operand(b, b_flipped), beta, c.data, c.ld,
              c.stride, c.batch);
}

}  // namespace

void CudaLinearOps::gemm(double alpha, Op op_a, ConstMatrixView a, Op op_b, ConstMatrixView b, double beta,
                         MatrixView c) {
  multiply<double>(device_, vendor_, alpha, op_a, a, op_b, b, beta, c);
}
void CudaLinearOps::gemm(float alpha, Op op_a, ConstFloatView a, Op op_b, ConstFloatView b, float beta,
                         FloatView c) {
  multiply<float>(device_, vendor_, alpha, op_a, a, op_b, b, beta, c);
}

void CudaLinearOps::scale(MatrixView x, const double* row_scale, const double* column_scale) {
  scale_by(device_, x, row_scale, column_scale, 1);
}
void CudaLinearOps::scale(FloatView x, const double* row_scale, const double* column_scale) {
  scale_by(device_, x, row_scale, column_scale, 1);
}

}  // namespace aloft::cuda
