#include "kernels/cuda/sparse_product.hpp"

#include <algorithm>
#include <vector>

#include "host/error.hpp"
#include "kernels/cuda/each_element.cuh"
#include "kernels/cuda/linear_ops.hpp"

namespace aloft::cuda {
namespace {

/// out[i] = offsets[i] − offsets[0].
__device__ void narrow_offset(std::int64_t i, const std::uint64_t* offsets, std::int32_t* out) {
  out[i] = static_cast<std::int32_t>(offsets[i] - offsets[0]);
}

/// One block per row i of the stripe: stripe[i][column] = value. stripe [gridDim.x, cols], zero before.
template <class T>
__global__ __launch_bounds__(kElementThreads) void spell_out(CsrViewOf<T> a, std::int64_t first_row,
                                                             T* stripe) {
  const std::int64_t i = first_row + blockIdx.x;
  T* const row = stripe + std::int64_t{blockIdx.x} * a.cols;
  for (std::uint64_t e = a.row_offsets[i] + threadIdx.x; e < a.row_offsets[i + 1]; e += kElementThreads)
    row[a.columns[e]] = a.values[e];
}

template <class T>
void multiply_dense(CudaDevice& device, Vendor& vendor, CsrViewOf<T> a, MatrixViewOf<const T> x,
                    MatrixViewOf<T> y, std::int64_t stripe_bytes) {
  const std::int64_t fitting = stripe_bytes / (a.cols * static_cast<std::int64_t>(sizeof(T)));
  const std::int64_t step = std::clamp<std::int64_t>(fitting, 1, a.rows);
  Buffer<T> stripe(device, static_cast<std::size_t>(step * a.cols));
  for (std::int64_t first = 0; first < a.rows; first += step) {
    const std::int64_t rows = std::min(step, a.rows - first);
    device.zero(stripe.data(), static_cast<std::size_t>(rows * a.cols) * sizeof(T));
    check(launch(spell_out<T>, static_cast<unsigned>(rows), kElementThreads, 0, device.stream(), a, first,
                 stripe.data()));
    vendor.gemm(rows, x.cols, a.cols, T{1}, {stripe.data(), a.cols, 0, false}, {x.data, x.ld, 0, false}, T{0},
                y.row(first), y.ld, 0, 1);
  }
}

/// Rows [first, last), whose entries are [entry, entry + nnz).
template <class T>
void multiply_rows(CudaDevice& device, Vendor& vendor, CsrViewOf<T> a, std::int64_t first, std::int64_t last,
                   std::uint64_t entry, std::int64_t nnz, MatrixViewOf<const T> x, MatrixViewOf<T> y) {
  const std::int64_t rows = last - first;
  const MatrixViewOf<T> to = y.row_block(first, rows);
  if (nnz == 0) return zero(device, to);
  Buffer<std::int32_t> offsets(device, static_cast<std::size_t>(rows) + 1);
  for_each_element<narrow_offset>(device.stream(), rows + 1, a.row_offsets + first, offsets.data());
  vendor.spmm(rows, a.cols, nnz, offsets.data(), a.columns + entry, a.values + entry, x.data, x.ld, x.cols,
              to.data, to.ld);
}

}  // namespace

template <class T>
void multiply(CudaDevice& device, Vendor& vendor, CsrViewOf<T> a,
              std::type_identity_t<MatrixViewOf<const T>> x, std::type_identity_t<MatrixViewOf<T>> y,
              const ProductLimits& limits) {
  expects(x.rows == a.cols && y.rows == a.rows && x.cols == y.cols && x.batch == 1 && y.batch == 1,
          "spmm: a [m, n], x [n, k], y [m, k]");
  if (y.size() == 0) return;
  const double cells = static_cast<double>(a.rows) * static_cast<double>(a.cols);
  if (a.nnz > 0 && static_cast<double>(a.nnz) >= limits.dense_fill * cells)
    return multiply_dense(device, vendor, a, x, y, limits.stripe_bytes);
  if (a.nnz <= limits.call_nnz) return multiply_rows(device, vendor, a, 0, a.rows, 0, a.nnz, x, y);

  std::vector<std::uint64_t> offsets(static_cast<std::size_t>(a.rows) + 1);
  device.download(offsets.data(), a.row_offsets, offsets.size() * sizeof(std::uint64_t));
  device.synchronize();
  for (std::int64_t first = 0; first < a.rows;) {
    const std::uint64_t entry = offsets[static_cast<std::size_t>(first)];
    const auto past = std::upper_bound(offsets.begin() + first, offsets.end(),
                                       entry + static_cast<std::uint64_t>(limits.call_nnz));
    const std::int64_t last = past - offsets.begin() - 1;  // the last row boundary within the limit
    if (last == first) throw ResourceError("a matrix row has more non-zeros than one cuSPARSE call takes");
    multiply_rows(device, vendor, a, first, last, entry,
                  static_cast<std::int64_t>(offsets[static_cast<std::size_t>(last)] - entry), x, y);
    first = last;
  }
}

template void multiply(CudaDevice&, Vendor&, RealCsrView, ConstMatrixView, MatrixView, const ProductLimits&);
template void multiply(CudaDevice&, Vendor&, FloatCsrView, ConstFloatView, FloatView, const ProductLimits&);

void CudaLinearOps::spmm(RealCsrView a, ConstMatrixView x, MatrixView y) {
  multiply(device_, vendor_, a, x, y);
}
void CudaLinearOps::spmm(FloatCsrView a, ConstFloatView x, FloatView y) {
  multiply(device_, vendor_, a, x, y);
}

}  // namespace aloft::cuda
