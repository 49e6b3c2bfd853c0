#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/cpu/lapack.hpp"
#include "kernels/cpu/linear_ops.hpp"
#include "kernels/cpu/parallel.hpp"

// All eigenvalues and a few vectors of a symmetric matrix: one reduction to a tridiagonal T, all its values
// by QR iteration without vectors, the wanted vectors by inverse iteration (LAPACK's dsyevx, which itself
// returns no other values than those of its vectors).

namespace aloft::cpu {
namespace {

struct Tridiagonal {
  std::vector<double> diagonal, below;  ///< [n], [n]: the last is not used, but never null
};

/// a [n, n] becomes the reflectors of its reduction to T.
Tridiagonal reduce(std::vector<double>& a, std::int64_t n, std::vector<double>& tau, std::int64_t item) {
  Tridiagonal t{std::vector<double>(static_cast<std::size_t>(n)),
                std::vector<double>(static_cast<std::size_t>(n))};
  tau.resize(static_cast<std::size_t>(n));
  const lapack_int size = lapack_size(n);
  // The lower triangle of row-major memory is LAPACK's upper one.
  require_success("eigh_top (dsytrd)",
                  LAPACKE_dsytrd(LAPACK_COL_MAJOR, 'U', size, a.data(), size, t.diagonal.data(),
                                 t.below.data(), tau.data()),
                  item);
  return t;
}

/// Vectors of T's k largest values: rows of `top` [k, n], of rising value. False where inverse iteration did
/// not converge.
bool top_vectors(const Tridiagonal& t, std::int64_t n, std::int64_t k, double* top, std::int64_t item) {
  const lapack_int size = lapack_size(n), wanted = lapack_size(k);
  lapack_int found = 0, blocks = 0;
  std::vector<double> values(static_cast<std::size_t>(n)), vectors(static_cast<std::size_t>(n * k));
  std::vector<lapack_int> block(static_cast<std::size_t>(n)), split(static_cast<std::size_t>(n)),
      failed(static_cast<std::size_t>(k));
  const double tolerance = 0;  // the most accurate
  require_success("eigh_top (dstebz)",
                  LAPACKE_dstebz('I', 'B', size, 0, 0, size - wanted + 1, size, tolerance, t.diagonal.data(),
                                 t.below.data(), &found, &blocks, values.data(), block.data(), split.data()),
                  item);
  if (found != wanted ||
      LAPACKE_dstein(LAPACK_COL_MAJOR, size, t.diagonal.data(), t.below.data(), found, values.data(),
                     block.data(), split.data(), vectors.data(), size, failed.data()) != 0)
    return false;
  std::vector<std::int64_t> order(static_cast<std::size_t>(k));  // they came block by block
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t x, std::int64_t y) {
    return values[static_cast<std::size_t>(x)] < values[static_cast<std::size_t>(y)];
  });
  for (const std::int64_t from : order) top = std::copy_n(vectors.begin() + from * n, n, top);
  return true;
}

/// Everything by divide and conquer: for matrices that the above cannot do.
void whole(const double* a, std::int64_t n, std::int64_t k, double* values, double* top, std::int64_t item) {
  std::vector<double> vectors(a, a + n * n);
  const lapack_int size = lapack_size(n);
  require_success("eigh_top (dsyevd)",
                  LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', size, vectors.data(), size, values), item);
  std::copy_n(vectors.begin() + (n - k) * n, k * n, top);
}

/// top null: k is 0.
void eigh_top_item(const double* from, std::int64_t n, std::int64_t k, double* values, double* top,
                   std::int64_t item) {
  require_finite_lower("eigh_top", from, n, false, item);
  double largest = 0;
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j <= i; ++j) largest = std::max(largest, std::abs(from[i * n + j]));
  int exponent = 0;  // squares of what is left of it neither overflow nor vanish
  std::frexp(largest, &exponent);
  std::vector<double> a(static_cast<std::size_t>(n * n)), tau;
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j <= i; ++j)
      a[static_cast<std::size_t>(i * n + j)] = std::ldexp(from[i * n + j], -exponent);
  const std::vector<double> kept = k > 0 ? a : std::vector<double>();
  const Tridiagonal t = reduce(a, n, tau, item);
  {
    Tridiagonal destroyed = t;
    const lapack_int info = LAPACKE_dsterf(lapack_size(n), destroyed.diagonal.data(), destroyed.below.data());
    require_success("eigh_top (dsterf)", info, item);
    std::copy(destroyed.diagonal.begin(), destroyed.diagonal.end(), values);
  }
  if (k > 0) {
    if (top_vectors(t, n, k, top, item))
      require_success("eigh_top (dormtr)",
                      LAPACKE_dormtr(LAPACK_COL_MAJOR, 'L', 'U', 'N', lapack_size(n), lapack_size(k),
                                     a.data(), lapack_size(n), tau.data(), top, lapack_size(n)),
                      item);
    else
      whole(kept.data(), n, k, values, top, item);
  }
  for (std::int64_t i = 0; i < n; ++i) values[i] = std::ldexp(values[i], exponent);
}

}  // namespace

void CpuLinearOps::eigh_top(ConstMatrixView a, double* values, MatrixView top) {
  const std::int64_t n = a.rows, k = top.data == nullptr ? 0 : top.rows;
  expects(a.cols == n && k <= n && (k == 0 || (top.cols == n && top.batch == a.batch)),
          "eigh_top: a [n, n], top [k, n], k <= n, same batch");
  expects(a.contiguous() && top.contiguous(), "eigh_top: contiguous");
  if (a.size() == 0) return;
  parallel_for(a.batch, [&](std::int64_t item) {
    eigh_top_item(a.item(item).data, n, k, values + item * n, k == 0 ? nullptr : top.item(item).data, item);
  });
}

}  // namespace aloft::cpu
