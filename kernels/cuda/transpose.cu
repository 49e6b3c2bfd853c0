#include "kernels/cuda/transpose.cuh"

#include <algorithm>

#include "host/error.hpp"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_ops.hpp"

// Matrices beside their transposes, tile by tile.

namespace aloft::cuda {
namespace {

constexpr int kTile = 32;          // a warp reads and writes rows of a tile, in memory
constexpr int kTileRows = 8;       // rows a block moves at once; each thread moves four elements
constexpr int kPitch = kTile + 1;  // so that a column of one in shared memory lies in 32 different banks

/// A block a tile along x, items along y.
dim3 tile_grid(ConstMatrixView a) {
  const auto along = [](std::int64_t n) { return (n + kTile - 1) / kTile; };
  return {static_cast<unsigned>(along(a.rows) * along(a.cols)),
          static_cast<unsigned>(std::min(a.batch, kMaxBlocksY))};
}

/// Tiles along x, one a block (row-major over a); items along y.
__global__ __launch_bounds__(kTile* kTileRows) void transpose_tiles(ConstMatrixView a, const double* row_sign,
                                                                    MatrixView out) {
  __shared__ double tile[kTile][kPitch];
  const std::int64_t tiles_across = (a.cols + kTile - 1) / kTile;
  const std::int64_t row0 = blockIdx.x / tiles_across * kTile, col0 = blockIdx.x % tiles_across * kTile;
  for (std::int64_t item = blockIdx.y; item < a.batch; item += gridDim.y) {
    for (int r = static_cast<int>(threadIdx.y); r < kTile; r += kTileRows) {
      const std::int64_t row = row0 + r, column = col0 + threadIdx.x;
      if (row >= a.rows || column >= a.cols) continue;
      const double x = a.data[item * a.stride + row * a.ld + column];
      tile[r][threadIdx.x] = row_sign != nullptr && row_sign[item * a.rows + row] < 0 ? -x : x;
    }
    __syncthreads();
    for (int r = static_cast<int>(threadIdx.y); r < kTile; r += kTileRows) {
      const std::int64_t row = col0 + r, column = row0 + threadIdx.x;  // of out
      if (row < a.cols && column < a.rows)
        out.data[item * out.stride + row * out.ld + column] = tile[threadIdx.x][r];
    }
    __syncthreads();  // the next item overwrites the tile
  }
}

/// Tiles of out along x, one a block; items along y. The mirrored tile of x comes through shared memory, so
/// that both are read along rows. x, out: [batch][n, n].
__global__ __launch_bounds__(kTile* kTileRows) void skew_tiles(ConstMatrixView x, MatrixView out) {
  __shared__ double mirrored[kTile][kPitch];
  const std::int64_t n = x.rows, tiles = (n + kTile - 1) / kTile;
  const std::int64_t row0 = blockIdx.x / tiles * kTile, col0 = blockIdx.x % tiles * kTile;
  for (std::int64_t item = blockIdx.y; item < x.batch; item += gridDim.y) {
    const double* const from = x.data + item * x.stride;
    double* const to = out.data + item * out.stride;
    for (int r = static_cast<int>(threadIdx.y); r < kTile; r += kTileRows) {
      const std::int64_t row = col0 + r, column = row0 + threadIdx.x;
      if (row < n && column < n) mirrored[r][threadIdx.x] = from[row * x.ld + column];
    }
    __syncthreads();
    for (int r = static_cast<int>(threadIdx.y); r < kTile; r += kTileRows) {
      const std::int64_t row = row0 + r, column = col0 + threadIdx.x;
      if (row < n && column < n)
        to[row * out.ld + column] = 0.5 * (from[row * x.ld + column] - mirrored[threadIdx.x][r]);
    }
    __syncthreads();  // the next item overwrites the tile
  }
}

}  // namespace

void transpose_dense(ConstMatrixView a, const double* row_sign, MatrixView out, cudaStream_t stream) {
  if (a.size() == 0) return;
  check(launch(transpose_tiles, tile_grid(a), dim3(kTile, kTileRows), 0, stream, a, row_sign, out));
}

void CudaLinearOps::transpose(ConstMatrixView x, MatrixView out) {
  expects(out.rows == x.cols && out.cols == x.rows && out.batch == x.batch,
          "transpose: x [m, n], out [n, m]");
  transpose_dense(x, nullptr, out, device_.stream());
}

void CudaLinearOps::skew_part(ConstMatrixView x, MatrixView out) {
  expects(x.rows == x.cols && out.rows == x.rows && out.cols == x.cols && out.batch == x.batch,
          "skew_part: x and out [n, n]");
  if (x.size() == 0) return;
  check(launch(skew_tiles, tile_grid(x), dim3(kTile, kTileRows), 0, device_.stream(), x, out));
}

}  // namespace aloft::cuda
