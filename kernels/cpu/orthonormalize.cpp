#include "kernels/cpu/orthonormalize.hpp"

#include <algorithm>
#include <vector>

#include "kernels/cpu/lapack.hpp"
#include "kernels/cpu/linear_ops.hpp"
#include "kernels/cpu/parallel.hpp"

// Tall matrices by Cholesky's factor of their Gram matrix, twice (CholeskyQR2: Fukaya, Nakatsukasa,
// Yanagisawa and Yamamoto, 2014): all its work is matrix products. Where columns are too nearly dependent for
// that, Householder QR in two levels (TSQR: Demmel, Grigori, Hoemmen, Langou, "Communication-optimal parallel
// and sequential QR and LU factorizations", 2012): each block of rows is factored alone, then the stacked
// triangles, and the two orthonormal factors are multiplied.

namespace aloft::cpu {
namespace {

constexpr double kDependent = 1e-12;  // of the largest column's square: what a column must have of its own

/// Row-major a [m, k] into column-major out [m, k], or the reverse with m and k exchanged.
void transpose_into(const double* a, std::int64_t m, std::int64_t k, double* out) {
  constexpr std::int64_t tile = 16;  // two cache lines each way
  for (std::int64_t i0 = 0; i0 < m; i0 += tile)
    for (std::int64_t j0 = 0; j0 < k; j0 += tile)
      for (std::int64_t i = i0; i < std::min(m, i0 + tile); ++i)
        for (std::int64_t j = j0; j < std::min(k, j0 + tile); ++j) out[j * m + i] = a[i * k + j];
}

/// Replaces row-major y [m, k] by the orthonormal factor of its QR factorisation with diag(R) >= 0; r, if not
/// null, gets R, row-major [k, k].
void factor(double* y, std::int64_t m, std::int64_t k, double* r, std::int64_t item) {
  std::vector<double> a(static_cast<std::size_t>(m * k)), tau(static_cast<std::size_t>(k));
  transpose_into(y, m, k, a.data());
  const lapack_int rows = lapack_size(m), cols = lapack_size(k);
  require_success("dgeqrf", LAPACKE_dgeqrf(LAPACK_COL_MAJOR, rows, cols, a.data(), rows, tau.data()), item);
  std::vector<double> sign(static_cast<std::size_t>(k));
  for (std::int64_t j = 0; j < k; ++j)
    sign[static_cast<std::size_t>(j)] = a[static_cast<std::size_t>(j * m + j)] < 0 ? -1 : 1;
  if (r != nullptr)
    for (std::int64_t i = 0; i < k; ++i)
      for (std::int64_t j = 0; j < k; ++j)
        r[i * k + j] =
            j < i ? 0.0 : sign[static_cast<std::size_t>(i)] * a[static_cast<std::size_t>(j * m + i)];
  require_success("dorgqr", LAPACKE_dorgqr(LAPACK_COL_MAJOR, rows, cols, cols, a.data(), rows, tau.data()),
                  item);
  for (std::int64_t j = 0; j < k; ++j)
    if (sign[static_cast<std::size_t>(j)] < 0)
      for (std::int64_t i = 0; i < m; ++i) a[static_cast<std::size_t>(j * m + i)] *= -1;
  transpose_into(a.data(), k, m, y);
}

/// y [m, k] ← y R^-1, R the triangle of Cholesky's factorisation of yᵀy; false, and y as it was, where y's
/// condition is above what leaves Q within reach of a second pass. Sums by blocks of rows, in their order.
bool cholesky_pass(double* y, std::int64_t m, std::int64_t k, std::int64_t blocks) {
  const auto first_row = [&](std::int64_t block) { return m * block / blocks; };
  std::vector<double> grams(static_cast<std::size_t>(blocks * k * k));
  const auto gram_of = [&](std::int64_t block) { return grams.data() + block * k * k; };
  const lapack_int width = lapack_size(k);
  parallel_for(blocks, [&](std::int64_t block) {
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, width,
                lapack_size(first_row(block + 1) - first_row(block)), 1, y + first_row(block) * k, width, 0,
                gram_of(block), width);
  });
  double* const r = grams.data();
  for (std::int64_t block = 1; block < blocks; ++block)
    for (std::int64_t e = 0; e < k * k; ++e) r[e] += gram_of(block)[e];
  double largest = 0;
  for (std::int64_t j = 0; j < k; ++j) largest = std::max(largest, r[j * k + j]);
  // Row-major upper is column-major lower: LAPACK's L is Rᵀ.
  if (LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', width, r, width) != 0) return false;
  for (std::int64_t j = 0; j < k; ++j)
    if (!(r[j * k + j] * r[j * k + j] > kDependent * largest)) return false;
  parallel_for(blocks, [&](std::int64_t block) {
    cblas_dtrsm(CblasRowMajor, CblasRight, CblasUpper, CblasNoTrans, CblasNonUnit,
                lapack_size(first_row(block + 1) - first_row(block)), width, 1, r, width,
                y + first_row(block) * k, width);
  });
  return true;
}

}  // namespace

void CpuLinearOps::orthonormalize(MatrixView y) {
  expects(y.rows >= y.cols && y.contiguous(), "orthonormalize: y [m, k] has m >= k and is contiguous");
  if (y.size() == 0) return;
  const std::int64_t m = y.rows, k = y.cols;
  parallel_for(y.batch,
               [&](std::int64_t item) { require_finite("orthonormalize", y.item(item).data, m, k, item); });
  const std::int64_t blocks = orthonormalize_blocks(m, k);
  if (blocks == 1) {
    parallel_for(y.batch, [&](std::int64_t item) { factor(y.item(item).data, m, k, nullptr, item); });
    return;
  }
  const auto first_row = [&](std::int64_t block) {
    return block == blocks ? m : block * orthonormalize_rows(k);
  };
  if (y.batch == 1 && m >= kTallEnough * k) {  // (several are worked on side by side below)
    const std::int64_t parts = std::min(blocks, kGrams);
    if (cholesky_pass(y.data, m, k, parts) && cholesky_pass(y.data, m, k, parts)) return;
  }
  Matrix triangles(device_, blocks * k, k, y.batch);  // the stacked R of every block
  parallel_for(y.batch * blocks, [&](std::int64_t task) {
    const std::int64_t item = task / blocks, block = task % blocks;
    factor(y.item(item).data + first_row(block) * k, first_row(block + 1) - first_row(block), k,
           triangles.view().item(item).data + block * k * k, item);
  });
  parallel_for(y.batch, [&](std::int64_t item) {
    factor(triangles.view().item(item).data, blocks * k, k, nullptr, item);
  });
  parallel_for(y.batch * blocks, [&](std::int64_t task) {
    const std::int64_t item = task / blocks, block = task % blocks;
    const std::int64_t rows = first_row(block + 1) - first_row(block);
    double* at = y.item(item).data + first_row(block) * k;
    const std::vector<double> q(at, at + rows * k);
    const lapack_int width = lapack_size(k);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, lapack_size(rows), width, width, 1.0, q.data(),
                width, triangles.view().item(item).data + block * k * k, width, 0.0, at, width);
  });
}

}  // namespace aloft::cpu
