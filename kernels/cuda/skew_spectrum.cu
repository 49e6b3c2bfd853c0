#include "kernels/cuda/skew_spectrum.cuh"

#include "host/cuda_check.hpp"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/magnitude.cuh"

namespace aloft::cuda {
namespace {

/// Element (row r, column c) of the memory is h's (c, r), h being column-major: i·a[c][r] = −i·a[r][c]. Only
/// r > c, h's upper triangle, will be read; the rest becomes zero.
__global__ __launch_bounds__(kElementThreads) void skew_to_hermitian(ConstMatrixView a,
                                                                     const std::uint64_t* largest,
                                                                     double2* h) {
  const std::int64_t n = a.cols, size = n * n;
  for (std::int64_t item = blockIdx.y; item < a.batch; item += gridDim.y) {
    const double factor = reciprocal_unit_of(largest[item]);
    const double* from = a.data + item * size;
    for (std::int64_t e = first_element(); e < size; e += element_stride()) {
      const std::int64_t r = e / n, c = e - r * n;
      const double entry = r > c ? -from[e] * factor : 0.0;
      h[item * size + e] = double2{0.0, entry};
    }
  }
}

__global__ __launch_bounds__(kElementThreads) void fold_eigenvalue_pairs(const double* values, std::int64_t n,
                                                                         std::int64_t batch, double* sigma) {
  const std::int64_t m = n / 2;
  for (std::int64_t item = blockIdx.y; item < batch; item += gridDim.y)
    for (std::int64_t k = first_element(); k < m; k += element_stride())
      sigma[item * m + k] = (values[item * n + n - 1 - k] - values[item * n + k]) / 2;
}

__global__ __launch_bounds__(kElementThreads) void split_eigenvectors(const double2* z, std::int64_t n,
                                                                      std::int64_t batch, double* planes) {
  const std::int64_t m = n / 2;
  for (std::int64_t item = blockIdx.y; item < batch; item += gridDim.y)
    for (std::int64_t e = first_element(); e < m * n; e += element_stride()) {
      const std::int64_t k = e / n, j = e - k * n;
      const double2 entry = z[(item * n + n - 1 - k) * n + j];
      double* plane = planes + (item * m + k) * 2 * n;
      plane[j] = entry.y;
      plane[n + j] = entry.x;
    }
}

__global__ __launch_bounds__(kElementThreads) void deal_plane_rows(const double* planes,
                                                                   const double* diagonal_r, MatrixView left,
                                                                   MatrixView right) {
  const std::int64_t m = left.rows, n = left.cols;
  for (std::int64_t item = blockIdx.y; item < left.batch; item += gridDim.y)
    for (std::int64_t e = first_element(); e < m * n; e += element_stride()) {
      const std::int64_t k = e / n, j = e - k * n, plane = item * m + k;
      const double l = planes[plane * 2 * n + j], r = planes[plane * 2 * n + n + j];
      left.data[plane * n + j] = diagonal_r[2 * plane] < 0 ? -l : l;
      right.data[plane * n + j] = diagonal_r[2 * plane + 1] < 0 ? -r : r;
    }
}

}  // namespace

void hermitian_of_skew(ConstMatrixView a, const std::uint64_t* largest, double* h, cudaStream_t stream) {
  check(launch(skew_to_hermitian, element_grid(a.rows * a.cols, a.batch), dim3(kElementThreads), 0, stream, a,
               largest, reinterpret_cast<double2*>(h)));
}

void fold_pairs(const double* values, std::int64_t n, std::int64_t batch, double* sigma,
                cudaStream_t stream) {
  check(launch(fold_eigenvalue_pairs, element_grid(n / 2, batch), dim3(kElementThreads), 0, stream, values, n,
               batch, sigma));
}

void planes_of(const double* z, std::int64_t n, std::int64_t batch, double* planes, cudaStream_t stream) {
  check(launch(split_eigenvectors, element_grid(n / 2 * n, batch), dim3(kElementThreads), 0, stream,
               reinterpret_cast<const double2*>(z), n, batch, planes));
}

void deal_planes(const double* planes, const double* diagonal_r, MatrixView left, MatrixView right,
                 cudaStream_t stream) {
  check(launch(deal_plane_rows, element_grid(left.rows * left.cols, left.batch), dim3(kElementThreads), 0,
               stream, planes, diagonal_r, left, right));
}

}  // namespace aloft::cuda
