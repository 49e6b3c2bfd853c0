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
  std::vector<double> diagonal, beside;  ///< [m], [m − 1]
  char side = 'L';                       ///< L: `beside` is below the diagonal, U: above
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

Bidiagonal square_part(const SkewTridiagonal& t, std::int64_t m, std::vector<RowRotation>& rotations) {
  Bidiagonal b;
  b.diagonal.resize(static_cast<std::size_t>(m));
  b.beside.resize(static_cast<std::size_t>(m), 0.0);  // one more than LAPACK needs, so that it is never null
  for (std::int64_t i = 0; i < m; ++i)
    b.diagonal[static_cast<std::size_t>(i)] = -t.below[static_cast<std::size_t>(2 * i)];
  for (std::int64_t i = 0; 2 * i + 1 < t.n - 1; ++i)
    b.beside[static_cast<std::size_t>(i)] = t.below[static_cast<std::size_t>(2 * i + 1)];
  if (t.n % 2 == 0) return b;
  b.side = 'U';
  rotations.resize(static_cast<std::size_t>(m));
  for (std::size_t i = 0; i < rotations.size(); ++i) {
    auto& g = rotations[i] = rotation(b.diagonal[i], b.beside[i], b.diagonal[i]);
    if (i + 1 == rotations.size()) break;
    b.beside[i] = g.s * b.diagonal[i + 1];  // row i gains this, row i + 1 keeps the rest
    b.diagonal[i + 1] *= g.c;
  }
  return b;
}

/// x [rows, columns], column-major: the rotations of the reduction, undone.
void undo(const std::vector<RowRotation>& rotations, double* x, std::int64_t rows, std::int64_t columns) {
  for (std::int64_t k = 0; k < columns; ++k)
    for (std::size_t i = rotations.size(); i-- > 0;) {
      double& upper = x[k * rows + static_cast<std::int64_t>(i)];
      double& lower = (&upper)[1];
      const double u = upper, l = lower;
      upper = rotations[i].c * u - rotations[i].s * l;
      lower = rotations[i].s * u + rotations[i].c * l;
    }
}

/// left and right: row-major [m, n], both or neither null.
void spectrum_of(const double* a, std::int64_t n, double* sigma, double* left, double* right,
                 std::int64_t item) {
  require_finite_lower("skew_spectrum", a, n, true, item);
  const std::int64_t m = n / 2, evens = n - m;
  if (m == 0) return;
  const SkewTridiagonal t = reduce_skew(a, n);
  std::vector<RowRotation> rotations;
  Bidiagonal b = square_part(t, m, rotations);
  const bool vectors = left != nullptr;
  const auto square = static_cast<std::size_t>(vectors ? m * m : 1);
  std::vector<double> x(square), yt(square);
  const lapack_int size = lapack_size(m);
  require_success("skew_spectrum (dbdsdc)",
                  LAPACKE_dbdsdc(LAPACK_COL_MAJOR, b.side, vectors ? 'I' : 'N', size, b.diagonal.data(),
                                 b.beside.data(), x.data(), size, yt.data(), size, nullptr, nullptr),
                  item);
  std::copy(b.diagonal.begin(), b.diagonal.end(), sigma);
  if (!vectors) return;

  std::vector<double> tall(static_cast<std::size_t>(evens * m));  // x with the row of zeros that odd n has
  for (std::int64_t k = 0; k < m; ++k)
    std::copy_n(&x[static_cast<std::size_t>(k * m)], m, &tall[static_cast<std::size_t>(k * evens)]);
  undo(rotations, tall.data(), evens, m);
  std::fill_n(left, m * n, 0.0);
  std::fill_n(right, m * n, 0.0);
  for (std::int64_t k = 0; k < m; ++k) {
    for (std::int64_t i = 0; i < evens; ++i)
      left[k * n + 2 * i] = tall[static_cast<std::size_t>(k * evens + i)];
    for (std::int64_t i = 0; i < m; ++i) right[k * n + 2 * i + 1] = yt[static_cast<std::size_t>(i * m + k)];
  }
  t.apply_q(left, m);  // a row of [m, n] is a column of the column-major [n, m]
  t.apply_q(right, m);
}

}  // namespace

void CpuLinearOps::skew_spectrum(ConstMatrixView a, double* sigma, MatrixView left, MatrixView right) {
  const std::int64_t n = a.rows, m = n / 2;
  expects(a.cols == n, "skew_spectrum: a [n, n]");
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
