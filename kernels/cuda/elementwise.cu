#include "host/cuda_check.hpp"
#include "host/error.hpp"
#include "kernels/cuda/block_sum.cuh"
#include "kernels/cuda/linear_ops.hpp"
#include "kernels/cuda/transpose.cuh"

// Matrices taken element by element: transposition, antisymmetric part, sums of products.

namespace aloft::cuda {
namespace {

constexpr int kTile = 32;          // a warp reads and writes rows of a tile
constexpr int kTileRows = 8;       // rows a block moves at once; each thread moves four elements
constexpr int kPitch = kTile + 1;  // so that a column lies in 32 different banks

/// Tiles of out along x, one a block; items along y. The mirrored tile of x comes through shared memory, so
/// that both are read along rows. x, out: [batch][n, n].
__global__ __launch_bounds__(kTile* kTileRows) void skew_tiles(ConstMatrixView x, double* out) {
  __shared__ double mirrored[kTile][kPitch];
  const std::int64_t n = x.rows, tiles = (n + kTile - 1) / kTile;
  const std::int64_t row0 = blockIdx.x / tiles * kTile, col0 = blockIdx.x % tiles * kTile;
  for (std::int64_t item = blockIdx.y; item < x.batch; item += gridDim.y) {
    const double* const from = x.data + item * n * n;
    for (int r = static_cast<int>(threadIdx.y); r < kTile; r += kTileRows) {
      const std::int64_t row = col0 + r, column = row0 + threadIdx.x;
      if (row < n && column < n) mirrored[r][threadIdx.x] = from[row * n + column];
    }
    __syncthreads();
    for (int r = static_cast<int>(threadIdx.y); r < kTile; r += kTileRows) {
      const std::int64_t row = row0 + r, column = col0 + threadIdx.x;
      if (row < n && column < n)
        out[item * n * n + row * n + column] = 0.5 * (from[row * n + column] - mirrored[threadIdx.x][r]);
    }
    __syncthreads();  // the next item overwrites the tile
  }
}

__global__ __launch_bounds__(kElementThreads) void add_scaled_elements(double alpha, const double* x,
                                                                       double* y, std::int64_t n) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) y[i] += alpha * x[i];
}

// Sums have one order: blocks of kShare elements, a tree within each, then an item's blocks by one last
// block.
constexpr std::int64_t kShare = 16 * kElementThreads;

std::int64_t shares_of(std::int64_t n) { return (n + kShare - 1) / kShare; }

/// partial[item][b] = Σ over elements [b·kShare, (b+1)·kShare) of the item; b along x, items along y. n:
/// elements of an item.
__global__ __launch_bounds__(kElementThreads) void inner_by_share(const double* x, const double* y,
                                                                  std::int64_t n, std::int64_t batch,
                                                                  double* partial) {
  __shared__ double scratch[kElementThreads];
  const std::int64_t first = std::int64_t{blockIdx.x} * kShare;
  const std::int64_t last = first + kShare < n ? first + kShare : n;
  for (std::int64_t item = blockIdx.y; item < batch; item += gridDim.y) {
    double sum = 0;
    for (std::int64_t i = first + threadIdx.x; i < last; i += kElementThreads)
      sum += x[item * n + i] * y[item * n + i];
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

}  // namespace

void CudaLinearOps::transpose(ConstMatrixView x, MatrixView out) {
  expects(out.rows == x.cols && out.cols == x.rows && out.batch == x.batch,
          "transpose: x [m, n], out [n, m]");
  transpose_dense(x, nullptr, out.data, device_.stream());
}

void CudaLinearOps::skew_part(ConstMatrixView x, MatrixView out) {
  expects(x.rows == x.cols && out.rows == x.rows && out.cols == x.cols && out.batch == x.batch,
          "skew_part: x and out [n, n]");
  if (x.size() == 0) return;
  const std::int64_t tiles = (x.rows + kTile - 1) / kTile;
  const dim3 grid(static_cast<unsigned>(tiles * tiles),
                  static_cast<unsigned>(std::min(x.batch, kMaxBlocksY)));
  check(launch(skew_tiles, grid, dim3(kTile, kTileRows), 0, device_.stream(), x, out.data));
}

void CudaLinearOps::add_scaled(double alpha, ConstMatrixView x, MatrixView y) {
  expects(x.rows == y.rows && x.cols == y.cols && x.batch == y.batch, "add_scaled: one shape");
  if (x.size() == 0) return;
  check(launch(add_scaled_elements, element_grid(x.size()), kElementThreads, 0, device_.stream(), alpha,
               x.data, y.data, x.size()));
}

void CudaLinearOps::inner(ConstMatrixView x, ConstMatrixView y, double* out) {
  expects(x.rows == y.rows && x.cols == y.cols && x.batch == y.batch, "inner: one shape");
  if (x.size() == 0) return device_.zero(out, static_cast<std::size_t>(x.batch) * sizeof(double));
  const std::int64_t n = x.rows * x.cols, shares = shares_of(n);
  Buffer<double> partial(device_, static_cast<std::size_t>(x.batch * shares));
  const dim3 grid(static_cast<unsigned>(shares), static_cast<unsigned>(std::min(x.batch, kMaxBlocksY)));
  check(launch(inner_by_share, grid, kElementThreads, 0, device_.stream(), x.data, y.data, n, x.batch,
               partial.data()));
  check(launch(sum_shares, static_cast<unsigned>(std::min(x.batch, kMaxBlocks)), kElementThreads, 0,
               device_.stream(), partial.data(), shares, x.batch, out));
}

}  // namespace aloft::cuda
