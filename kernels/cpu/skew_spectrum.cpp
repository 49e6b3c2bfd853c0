#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/lapack.hpp"
#include "kernels/cpu/linear_ops.hpp"
#include "kernels/cpu/parallel.hpp"
#include "kernels/cpu/skew_tridiagonal.hpp"

// An antisymmetric tridiagonal T couples even indices to odd ones only: T[even, odd] = B, T[odd, even] = −Bᵀ
// with B lower bidiagonal. B = XΣYᵀ is half the size, and T = Σ_k σ_k (x_k y_kᵀ − y_k x_kᵀ) with x on even, y
// on odd indices: the planes themselves, every pair of equal singular values computed once.

namespace aloft::cpu {
namespace {

struct Bidiagonal {
  std::vector<double> diagonal, above;  ///< [m], [m] of which LAPACK needs m − 1: `above` is never null
};

/// Odd n: B is (m+1)×m. Rotations of neighbouring rows make it upper bidiagonal with a last row of zeros.
struct RowRotation {
  double c, s;
};

/// [a; b] -> [r; 0]
RowRotation rotation(double a, double b, double& r) {
  r = std::hypot(a, b);
  return r == 0 ? RowRotation{1, 0} : RowRotation{a / r, b / r};
}

/// Even n: Bᵀ, upper bidiagonal. Odd n: B after `rotations`.
Bidiagonal square_part(const SkewTridiagonal& t, std::int64_t m, std::vector<RowRotation>& rotations) {
  Bidiagonal b;
  b.diagonal.resize(static_cast<std::size_t>(m));
  b.above.resize(static_cast<std::size_t>(m), 0.0);
  for (std::int64_t i = 0; i < m; ++i)
    b.diagonal[static_cast<std::size_t>(i)] = -t.below[static_cast<std::size_t>(2 * i)];
  for (std::int64_t i = 0; 2 * i + 1 < t.n - 1; ++i)
    b.above[static_cast<std::size_t>(i)] = t.below[static_cast<std::size_t>(2 * i + 1)];
  if (t.n % 2 == 0) return b;
  rotations.resize(static_cast<std::size_t>(m));
  for (std::size_t i = 0; i < rotations.size(); ++i) {
    auto& g = rotations[i] = rotation(b.diagonal[i], b.above[i], b.diagonal[i]);
    if (i + 1 == rotations.size()) break;
    b.above[i] = g.s * b.diagonal[i + 1];  // row i gains this, row i + 1 keeps the rest
    b.diagonal[i + 1] *= g.c;
  }
  return b;
}

/// The rotations of the reduction undone, on the even places of x [n].
void undo(const std::vector<RowRotation>& rotations, double* x) {
  for (std::size_t i = rotations.size(); i-- > 0;) {
    double &upper = x[2 * i], &lower = x[2 * i + 2];
    const double u = upper, l = lower;
    upper = rotations[i].c * u - rotations[i].s * l;
    lower = rotations[i].s * u + rotations[i].c * l;
  }
}

/// Singular values, descending, into b.diagonal. u, vt: column-major [m, m] or both empty.
void bidiagonal_svd(Bidiagonal& b, const Columns* u, const Columns* vt, std::int64_t item) {
  const lapack_int m = lapack_size(static_cast<std::int64_t>(b.diagonal.size()));
  double unused = 0;
  // At least what LAPACK documents: 4m, with vectors 3m² + 4m.
  std::vector<double> work(static_cast<std::size_t>(u == nullptr ? 8 * m : 3 * m * m + 4 * m));
  std::vector<lapack_int> integers(static_cast<std::size_t>(8 * m));
  require_success(
      "skew_spectrum (dbdsdc)",
      LAPACKE_dbdsdc_work(LAPACK_COL_MAJOR, 'U', u == nullptr ? 'N' : 'I', m, b.diagonal.data(),
                          b.above.data(), u == nullptr ? &unused : u->at(0, 0), u == nullptr ? 1 : u->step(),
                          u == nullptr ? &unused : vt->at(0, 0), u == nullptr ? 1 : vt->step(), nullptr,
                          nullptr, work.data(), integers.data()),
      item);
}

/// left and right: row-major [m, n], both or neither null.
void spectrum_of(const double* a, std::int64_t n, double* sigma, double* left, double* right,
                 std::int64_t item) {
  require_finite_lower("skew_spectrum", a, n, true, item);
  const std::int64_t m = n / 2;
  if (m == 0) return;
  const SkewTridiagonal t = reduce_skew(a, n);
  std::vector<RowRotation> rotations;
  Bidiagonal b = square_part(t, m, rotations);
  if (left == nullptr) {
    bidiagonal_svd(b, nullptr, nullptr, item);
    std::copy(b.diagonal.begin(), b.diagonal.end(), sigma);
    return;
  }
  const Columns u(m, m), vt(m, m);
  bidiagonal_svd(b, &u, &vt, item);
  std::copy(b.diagonal.begin(), b.diagonal.end(), sigma);

  // The even places are the rows of B: the columns of the SVD's u, but for the transpose those of vt.
  double *from_u = left, *from_vt = right + 1;
  if (n % 2 == 0) from_u = right + 1, from_vt = left;
  std::fill_n(left, m * n, 0.0);
  std::fill_n(right, m * n, 0.0);
  for (std::int64_t k = 0; k < m; ++k) {
    for (std::int64_t i = 0; i < m; ++i) from_u[k * n + 2 * i] = *u.at(i, k);
    for (std::int64_t i = 0; i < m; ++i) from_vt[k * n + 2 * i] = *vt.at(k, i);
    undo(rotations, left + k * n);
  }
  t.apply_q(left, right, m);  // a row of [m, n] is a column of the column-major [n, m]
}

}  // namespace

void CpuLinearOps::skew_spectrum(ConstMatrixView a, double* sigma, MatrixView left, MatrixView right) {
  const std::int64_t n = a.rows, m = n / 2;
  expects(a.cols == n, "skew_spectrum: a [n, n]");
  expects(a.contiguous() && left.contiguous() && right.contiguous(), "skew_spectrum: contiguous");
  expects((left.data == nullptr) == (right.data == nullptr), "skew_spectrum: left and right, or neither");
  for (const MatrixView& side : {left, right})
    expects(side.data == nullptr || (side.rows == m && side.cols == n && side.batch == a.batch),
            "skew_spectrum: left and right [n/2, n]");
  parallel_for(a.batch, [&](std::int64_t item) {
    const bool vectors = left.data != nullptr;
    spectrum_of(a.item(item).data, n, sigma + item * m, vectors ? left.item(item).data : nullptr,
                vectors ? right.item(item).data : nullptr, item);
  });
}

}  // namespace aloft::cpu
