#include "host/error.hpp"
#include "kernels/cuda/block_sum.cuh"
#include "kernels/cuda/each_element.cuh"
#include "kernels/cuda/linear_ops.hpp"
#include "kernels/cuda/warp.cuh"

// Matrices taken element by element: sums, sums of products, permutations, roundings.

namespace aloft::cuda {
namespace {

/// Of element e: y += alpha·x.
template <class T>
__device__ void add_scaled_element(std::int64_t e, T alpha, MatrixViewOf<const T> x, MatrixViewOf<T> y) {
  y.element(e) += alpha * x.element(e);
}

/// Of element e: out = x, rounded to nearest.
__device__ void round_element(std::int64_t e, ConstMatrixView x, FloatView out) {
  out.element(e) = static_cast<float>(x.element(e));
}

/// Of element e: out = x.
__device__ void widen_element(std::int64_t e, ConstFloatView x, MatrixView out) {
  out.element(e) = static_cast<double>(x.element(e));
}

/// Of element e of out, which rows and columns of x say (kernels/ops.hpp, permute).
__device__ void permute_element(std::int64_t e, ConstMatrixView x, const std::int32_t* rows,
                                const std::int32_t* columns, MatrixView out) {
  const std::int64_t r = e / out.cols, item = r / out.rows, i = r - item * out.rows, j = e - r * out.cols;
  const std::int64_t row = rows == nullptr ? i : rows[i], column = columns == nullptr ? j : columns[j];
  const double value =
      x.data[item * x.stride + (row < 0 ? -1 - row : row) * x.ld + (column < 0 ? -1 - column : column)];
  out.data[item * out.stride + i * out.ld + j] = (row < 0) != (column < 0) ? -value : value;
}

// Sums have one order: blocks of kShare elements, a tree within each, then an item's blocks by one last
// block.
constexpr std::int64_t kShare = 16 * kElementThreads;

std::int64_t shares_of(std::int64_t n) { return (n + kShare - 1) / kShare; }

/// partial[item][b] = Σ over elements [b·kShare, (b+1)·kShare) of the item; b along x, items along y.
__global__ __launch_bounds__(kElementThreads) void inner_by_share(ConstMatrixView x, ConstMatrixView y,
                                                                  double* partial) {
  __shared__ double scratch[kElementThreads];
  const std::int64_t first = std::int64_t{blockIdx.x} * kShare;
  const std::int64_t n = x.rows * x.cols, last = first + kShare < n ? first + kShare : n;
  for (std::int64_t item = blockIdx.y; item < x.batch; item += gridDim.y) {
    double sum = 0;
    for (std::int64_t e = item * n + first + threadIdx.x; e < item * n + last; e += kElementThreads)
      sum += x.element(e) * y.element(e);
    sum = sum_over_block(sum, scratch);
    if (threadIdx.x == 0) partial[item * gridDim.x + blockIdx.x] = sum;
  }
}

/// out[item] = Σ partial[item][0, shares); one block per item, then the next.
__global__ __launch_bounds__(kElementThreads) void sum_shares(const double* partial, std::int64_t shares,
                                                              std::int64_t batch, double* out) {
  __shared__ double scratch[kElementThreads];
  for (std::int64_t item = blockIdx.x; item < batch; item += gridDim.x) {
    double sum = 0;
    for (std::int64_t b = threadIdx.x; b < shares; b += kElementThreads) sum += partial[item * shares + b];
    sum = sum_over_block(sum, scratch);
    if (threadIdx.x == 0) out[item] = sum;
  }
}

/// out[i] = Σ_j x_ij² column_weights[j]: a warp a row, then the next.
template <class T>
__global__ __launch_bounds__(kElementThreads) void norms_by_warp(MatrixViewOf<const T> x,
                                                                 const double* column_weights, double* out) {
  for (std::int64_t i = first_warp(); i < x.rows; i += warp_stride()) {
    const T* const row = x.row(i);
    double sum = 0;
    for (std::int64_t j = lane(); j < x.cols; j += kWarp)
      sum += static_cast<double>(row[j]) * static_cast<double>(row[j]) * column_weights[j];
    sum = sum_to_lane_0(sum);
    if (lane() == 0) out[i] = sum;
  }
}

/// out[i] = x_ij of largest magnitude, of equals the first: a warp a row, then the next.
__global__ __launch_bounds__(kElementThreads) void extremes_by_warp(ConstMatrixView x, double* out) {
  for (std::int64_t i = first_warp(); i < x.rows; i += warp_stride()) {
    const double* const row = x.row(i);
    double extreme = 0;
    std::int64_t at = x.cols;
    for (std::int64_t j = lane(); j < x.cols; j += kWarp)
      if (fabs(row[j]) > fabs(extreme)) extreme = row[j], at = j;
    for (unsigned step = kWarp / 2; step != 0; step /= 2) {
      const double other = __shfl_down_sync(kAllLanes, extreme, step);
      const std::int64_t there = __shfl_down_sync(kAllLanes, at, step);
      if (fabs(other) > fabs(extreme) || (fabs(other) == fabs(extreme) && there < at))
        extreme = other, at = there;
    }
    if (lane() == 0) out[i] = extreme;
  }
}

template <class T>
void add_multiple(cudaStream_t stream, T alpha, MatrixViewOf<const T> x, MatrixViewOf<T> y) {
  expects(x.rows == y.rows && x.cols == y.cols && x.batch == y.batch, "add_scaled: one shape");
  for_each_element<add_scaled_element<T>>(stream, x.size(), alpha, x, y);
}

template <class T>
void norms_of_rows(cudaStream_t stream, MatrixViewOf<const T> x, const double* column_weights, double* out) {
  expects(x.batch == 1, "row_norms: one matrix");
  if (x.rows == 0) return;
  check(launch(norms_by_warp<T>, element_grid(x.rows * kWarp), kElementThreads, 0, stream, x, column_weights,
               out));
}

}  // namespace

void CudaLinearOps::add_scaled(double alpha, ConstMatrixView x, MatrixView y) {
  add_multiple<double>(device_.stream(), alpha, x, y);
}
void CudaLinearOps::add_scaled(float alpha, ConstFloatView x, FloatView y) {
  add_multiple<float>(device_.stream(), alpha, x, y);
}

void CudaLinearOps::round(ConstMatrixView x, FloatView out) {
  expects(x.rows == out.rows && x.cols == out.cols && x.batch == out.batch, "round: one shape");
  for_each_element<round_element>(device_.stream(), x.size(), x, out);
}

void CudaLinearOps::widen(ConstFloatView x, MatrixView out) {
  expects(x.rows == out.rows && x.cols == out.cols && x.batch == out.batch, "widen: one shape");
  for_each_element<widen_element>(device_.stream(), x.size(), x, out);
}

void CudaLinearOps::row_extremes(ConstMatrixView x, double* out) {
  expects(x.batch == 1, "row_extremes: one matrix");
  if (x.rows == 0) return;
  check(launch(extremes_by_warp, element_grid(x.rows * kWarp), kElementThreads, 0, device_.stream(), x, out));
}

void CudaLinearOps::row_norms(ConstMatrixView x, const double* column_weights, double* out) {
  norms_of_rows<double>(device_.stream(), x, column_weights, out);
}
void CudaLinearOps::row_norms(ConstFloatView x, const double* column_weights, double* out) {
  norms_of_rows<float>(device_.stream(), x, column_weights, out);
}

void CudaLinearOps::permute(ConstMatrixView x, const std::int32_t* rows, const std::int32_t* columns,
                            MatrixView out) {
  expects(out.batch == x.batch && (rows != nullptr || out.rows == x.rows) &&
              (columns != nullptr || out.cols == x.cols),
          "permute: a row of x for every one of out, and a column");
  for_each_element<permute_element>(device_.stream(), out.size(), x, rows, columns, out);
}

void CudaLinearOps::inner(ConstMatrixView x, ConstMatrixView y, double* out) {
  expects(x.rows == y.rows && x.cols == y.cols && x.batch == y.batch, "inner: one shape");
  if (x.size() == 0) return device_.zero(out, static_cast<std::size_t>(x.batch) * sizeof(double));
  const std::int64_t n = x.rows * x.cols, shares = shares_of(n);
  Buffer<double> partial(device_, static_cast<std::size_t>(x.batch * shares));
  const dim3 grid(static_cast<unsigned>(shares), static_cast<unsigned>(std::min(x.batch, kMaxBlocksY)));
  check(launch(inner_by_share, grid, kElementThreads, 0, device_.stream(), x, y, partial.data()));
  check(launch(sum_shares, static_cast<unsigned>(std::min(x.batch, kMaxBlocks)), kElementThreads, 0,
               device_.stream(), partial.data(), shares, x.batch, out));
}

}  // namespace aloft::cuda
