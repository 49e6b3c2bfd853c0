#include <algorithm>

#include "kernels/cpu/lapack.hpp"
#include "kernels/cpu/linear_ops.hpp"
#include "kernels/cpu/parallel.hpp"
#include "kernels/random.hpp"

namespace aloft::cpu {
namespace {

// Tiles of C given to one BLAS call. They depend on C's shape alone, so the bits do not depend on the worker
// count.
constexpr std::int64_t kTileRows = 128;
constexpr std::int64_t kTileRowsSmall =
    64;  // of a C with fewer than 1024 rows, to have enough tiles for the workers
constexpr std::int64_t kTileCols = 512;

inline void blas_gemm(CBLAS_TRANSPOSE op_a, CBLAS_TRANSPOSE op_b, int m, int n, int k, double alpha,
                      const double* a, int lda, const double* b, int ldb, double beta, double* c, int ldc) {
  cblas_dgemm(CblasRowMajor, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
inline void blas_gemm(CBLAS_TRANSPOSE op_a, CBLAS_TRANSPOSE op_b, int m, int n, int k, float alpha,
                      const float* a, int lda, const float* b, int ldb, float beta, float* c, int ldc) {
  cblas_sgemm(CblasRowMajor, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

template <class T>
void multiply(T alpha, Op op_a, MatrixViewOf<const T> a, Op op_b, MatrixViewOf<const T> b, T beta,
              MatrixViewOf<T> c) {
  const bool a_flipped = op_a == Op::transpose, b_flipped = op_b == Op::transpose;
  const std::int64_t inner = a_flipped ? a.rows : a.cols;
  expects((a_flipped ? a.cols : a.rows) == c.rows && (b_flipped ? b.cols : b.rows) == inner &&
              (b_flipped ? b.rows : b.cols) == c.cols,
          "gemm: op(a) [m, k], op(b) [k, n], c [m, n]");
  expects((a.batch == c.batch || a.batch == 1) && (b.batch == c.batch || b.batch == 1),
          "gemm: a and b have c's batch or 1");
  if (c.size() == 0) return;
  const std::int64_t tile_rows = c.rows < 1024 ? kTileRowsSmall : kTileRows;
  const std::int64_t tiles_down = blocks_of(c.rows, tile_rows), tiles_across = blocks_of(c.cols, kTileCols);
  const auto lda = lapack_size(std::max<std::int64_t>(1, a.ld)),
             ldb = lapack_size(std::max<std::int64_t>(1, b.ld));
  const auto ldc = lapack_size(c.ld), depth = lapack_size(inner);
  parallel_for(c.batch * tiles_down * tiles_across, [&](std::int64_t task) {
    const std::int64_t item = task / (tiles_down * tiles_across);
    const std::int64_t i = task / tiles_across % tiles_down * tile_rows, j = task % tiles_across * kTileCols;
    const T* a_at = a.item(a.batch == 1 ? 0 : item).data + (a_flipped ? i : i * a.ld);
    const T* b_at = b.item(b.batch == 1 ? 0 : item).data + (b_flipped ? j * b.ld : j);
    blas_gemm(a_flipped ? CblasTrans : CblasNoTrans, b_flipped ? CblasTrans : CblasNoTrans,
              static_cast<int>(std::min(tile_rows, c.rows - i)),
              static_cast<int>(std::min(kTileCols, c.cols - j)), depth, alpha, a_at, lda, b_at, ldb, beta,
              c.item(item).data + i * c.ld + j, ldc);
  });
}

template <class T>
void scale_by(MatrixViewOf<T> x, const double* row_scale, const double* column_scale) {
  parallel_for(
      x.batch * x.rows,
      [&](std::int64_t r) {
        T* row = x.row(r);
        const double s = row_scale == nullptr ? 1.0 : row_scale[r % x.rows];
        if (column_scale == nullptr)
          for (std::int64_t j = 0; j < x.cols; ++j) row[j] = static_cast<T>(row[j] * s);
        else
          for (std::int64_t j = 0; j < x.cols; ++j) row[j] = static_cast<T>(row[j] * (s * column_scale[j]));
      },
      64);
}

}  // namespace

void CpuLinearOps::gemm(double alpha, Op op_a, ConstMatrixView a, Op op_b, ConstMatrixView b, double beta,
                        MatrixView c) {
  multiply<double>(alpha, op_a, a, op_b, b, beta, c);
}
void CpuLinearOps::gemm(float alpha, Op op_a, ConstFloatView a, Op op_b, ConstFloatView b, float beta,
                        FloatView c) {
  multiply<float>(alpha, op_a, a, op_b, b, beta, c);
}

void CpuLinearOps::scale(MatrixView x, const double* row_scale, const double* column_scale) {
  scale_by(x, row_scale, column_scale);
}
void CpuLinearOps::scale(FloatView x, const double* row_scale, const double* column_scale) {
  scale_by(x, row_scale, column_scale);
}

void CpuLinearOps::fill_normal(MatrixView x, std::uint64_t seed, std::uint64_t stream, double stddev) {
  const std::int64_t n = x.size();
  parallel_for(
      blocks_of(n, 2),
      [&](std::int64_t block) {
        const NormalPair pair = normal_pair(seed, stream, static_cast<std::uint64_t>(block));
        x.element(2 * block) = pair.even * stddev;
        if (2 * block + 1 < n) x.element(2 * block + 1) = pair.odd * stddev;
      },
      8192);
}

}  // namespace aloft::cpu
