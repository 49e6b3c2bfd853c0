#include "kernels/cpu/skew_tridiagonal.hpp"

#include <algorithm>

#include "kernels/cpu/lapack.hpp"

// For a reflector H = I − τvvᵀ and antisymmetric A, vᵀAv = 0 and so HAH = A + vwᵀ − wvᵀ with w = τAv. As in
// LAPACK's dsytrd, updates are gathered for a panel of columns and applied at once: A + VWᵀ − WVᵀ, mostly
// matrix products (Ward and Gray, "Eigensystem computation for skew-symmetric matrices", ACM TOMS 4, 1978, is
// the unblocked form).

namespace aloft::cpu {
namespace {

constexpr std::int64_t kPanel = 32;   // columns reduced before the rest is updated
constexpr std::int64_t kStripe = 64;  // columns of the rest that one matrix product updates

/// Column-major view of the strict lower triangle.
struct Lower {
  double* data;
  std::int64_t n;
  [[nodiscard]] double* at(std::int64_t i, std::int64_t j) const { return data + j * n + i; }
};

/// y = A·x over the indices [first, n), A antisymmetric of which `a` holds the strict lower triangle.
/// Each element is loaded once and used twice (A and −Aᵀ), two columns at a time.
void multiply(const Lower& a, std::int64_t first, const double* x, double* y) {
  const std::int64_t n = a.n;
  std::fill(y + first, y + n, 0.0);
  std::int64_t j = first;
  for (; j + 1 < n; j += 2) {
    const double* c0 = a.at(0, j);
    const double* c1 = a.at(0, j + 1);
    const double x0 = x[j], x1 = x[j + 1], corner = c0[j + 1];
    double s0 = 0, s1 = 0;
#pragma omp simd reduction(+ : s0, s1)
    for (std::int64_t i = j + 2; i < n; ++i) {
      y[i] += c0[i] * x0 + c1[i] * x1;
      s0 += c0[i] * x[i];
      s1 += c1[i] * x[i];
    }
    y[j] -= s0 + corner * x1;
    y[j + 1] += corner * x0 - s1;
  }
}

void gemv(CBLAS_TRANSPOSE op, std::int64_t m, std::int64_t n, double alpha, const double* a, std::int64_t lda,
          const double* x, std::int64_t step, double beta, double* y) {
  if (n > 0)
    cblas_dgemv(CblasColMajor, op, static_cast<int>(m), static_cast<int>(n), alpha, a, static_cast<int>(lda),
                x, static_cast<int>(step), beta, y, 1);
}

/// A + VWᵀ − WVᵀ on the lower triangle of [first, n), in stripes of columns. v: in the columns of `a` from
/// `panel` on; w: [n, width] column-major.
void update_rest(const Lower& a, std::int64_t panel, std::int64_t width, const double* w) {
  const std::int64_t n = a.n, first = panel + width;
  for (std::int64_t j = first; j < n; j += kStripe) {
    const int rows = static_cast<int>(n - j), cols = static_cast<int>(std::min(kStripe, n - j));
    const int k = static_cast<int>(width), ld = static_cast<int>(n);
    cblas_dgemm(CblasColMajor, CblasNoTrans, CblasTrans, rows, cols, k, 1.0, a.at(j, panel), ld, w + j, ld,
                1.0, a.at(j, j), ld);
    cblas_dgemm(CblasColMajor, CblasNoTrans, CblasTrans, rows, cols, k, -1.0, w + j, ld, a.at(j, panel), ld,
                1.0, a.at(j, j), ld);
  }
}

}  // namespace

SkewTridiagonal reduce_skew(const double* input, std::int64_t n) {
  SkewTridiagonal t;
  t.n = n;
  if (n == 0) return t;
  const auto size = static_cast<std::size_t>(n);
  t.below.resize(size - 1);
  t.tau.resize(size - 1);
  t.reflectors.resize(size * size);
  const Lower a{t.reflectors.data(), n};
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < i; ++j) *a.at(i, j) = input[i * n + j];

  std::vector<double> w(size * kPanel), small(kPanel);
  for (std::int64_t panel = 0; panel < n - 1; panel += kPanel) {
    const std::int64_t width = std::min(kPanel, n - 1 - panel);
    for (std::int64_t done = 0; done < width; ++done) {
      const std::int64_t i = panel + done, below = i + 1, rest = n - below;
      double* column = a.at(below, i);
      // The column as the reflectors of this panel so far leave it.
      gemv(CblasNoTrans, rest, done, 1.0, a.at(below, panel), n, &w[static_cast<std::size_t>(i)], n, 1.0,
           column);
      gemv(CblasNoTrans, rest, done, -1.0, &w[static_cast<std::size_t>(below)], n, a.at(i, panel), n, 1.0,
           column);
      auto& tau = t.tau[static_cast<std::size_t>(i)];
      LAPACKE_dlarfg_work(static_cast<lapack_int>(rest), column, column + 1, 1, &tau);
      t.below[static_cast<std::size_t>(i)] = *column;
      *column = 1;  // v in full, until the panel is done

      double* product = &w[static_cast<std::size_t>(done * n)];
      multiply(a, below, a.at(0, i), product);
      double* y = product + below;
      gemv(CblasTrans, rest, done, 1.0, &w[static_cast<std::size_t>(below)], n, column, 1, 0.0, small.data());
      gemv(CblasNoTrans, rest, done, 1.0, a.at(below, panel), n, small.data(), 1, 1.0, y);
      gemv(CblasTrans, rest, done, 1.0, a.at(below, panel), n, column, 1, 0.0, small.data());
      gemv(CblasNoTrans, rest, done, -1.0, &w[static_cast<std::size_t>(below)], n, small.data(), 1, 1.0, y);
      cblas_dscal(static_cast<int>(rest), tau, y, 1);
    }
    update_rest(a, panel, width, w.data());
    for (std::int64_t i = panel; i < panel + width; ++i)
      *a.at(i + 1, i) = t.below[static_cast<std::size_t>(i)];
  }
  return t;
}

void SkewTridiagonal::apply_q(double* x, std::int64_t columns) const {
  if (n < 2 || columns == 0) return;
  const auto size = static_cast<lapack_int>(n);
  require_success("dormqr",
                  LAPACKE_dormqr(LAPACK_COL_MAJOR, 'L', 'N', size - 1, lapack_size(columns), size - 1,
                                 reflectors.data() + 1, size, tau.data(), x + 1, size),
                  0);
}

}  // namespace aloft::cpu
