#include "kernels/cuda/transpose.cuh"

#include <algorithm>

#include "host/cuda_check.hpp"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/launch.cuh"

namespace aloft::cuda {
namespace {

constexpr int kTile = 32;          // a warp reads a row of the tile, and writes a column
constexpr int kTileRows = 8;       // rows a block moves at once; each thread moves four elements
constexpr int kPitch = kTile + 1;  // so that a column lies in 32 different banks

/// Tiles along x, one a block (row-major over a); items along y.
__global__ __launch_bounds__(kTile* kTileRows) void transpose_tiles(ConstMatrixView a, const double* row_sign,
                                                                    double* out) {
  __shared__ double tile[kTile][kPitch];
  const std::int64_t tiles_across = (a.cols + kTile - 1) / kTile, size = a.rows * a.cols;
  const std::int64_t row0 = blockIdx.x / tiles_across * kTile, col0 = blockIdx.x % tiles_across * kTile;
  for (std::int64_t item = blockIdx.y; item < a.batch; item += gridDim.y) {
    for (int r = static_cast<int>(threadIdx.y); r < kTile; r += kTileRows) {
      const std::int64_t row = row0 + r, column = col0 + threadIdx.x;
      if (row >= a.rows || column >= a.cols) continue;
      const double x = a.data[item * size + row * a.cols + column];
      tile[r][threadIdx.x] = row_sign != nullptr && row_sign[item * a.rows + row] < 0 ? -x : x;
    }
    __syncthreads();
    for (int r = static_cast<int>(threadIdx.y); r < kTile; r += kTileRows) {
      const std::int64_t row = col0 + r, column = row0 + threadIdx.x;  // of out
      if (row < a.cols && column < a.rows) out[item * size + row * a.rows + column] = tile[threadIdx.x][r];
    }
    __syncthreads();  // the next item overwrites the tile
  }
}

}  // namespace

void transpose_dense(ConstMatrixView a, const double* row_sign, double* out, cudaStream_t stream) {
  if (a.size() == 0) return;
  const std::int64_t tiles = ((a.rows + kTile - 1) / kTile) * ((a.cols + kTile - 1) / kTile);
  const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(std::min(a.batch, kMaxBlocksY)));
  check(launch(transpose_tiles, grid, dim3(kTile, kTileRows), 0, stream, a, row_sign, out));
}

}  // namespace aloft::cuda
