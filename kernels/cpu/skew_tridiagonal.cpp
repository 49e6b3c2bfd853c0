#include "kernels/cpu/skew_tridiagonal.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "kernels/cpu/lapack.hpp"

// For a reflector H = 1 − τvvᵀ and antisymmetric A, vᵀAv = 0 and so HAH = A + vwᵀ − wvᵀ with w = τAv. As in
// LAPACK's dsytrd, updates are gathered for a panel of columns and applied at once (Ward and Gray,
// "Eigensystem computation for skew-symmetric matrices", ACM TOMS 4, 1978, is the unblocked form). The
// panel's vectors are kept as pairs, v_0 w_0 v_1 w_1 …, so that a product with all of them is one call: with
// the pairs turned, w_0 −v_0 w_1 −v_1 …, the update A + VWᵀ − WVᵀ is A + pairs·turnedᵀ.

namespace aloft::cpu {
namespace {

constexpr std::int64_t kPanel = 16;   // columns reduced before the rest is updated
constexpr std::int64_t kStripe = 32;  // columns of the rest that one matrix product updates
constexpr std::int64_t kTile = 16;    // side of the squares in which the input is transposed

/// a·b + c, rounded once where the processor has an instruction for it, twice elsewhere.
inline double multiply_add(double a, double b, double c) {
#ifdef FP_FAST_FMA
  return std::fma(a, b, c);
#else
  return a * b + c;
#endif
}

/// y = A·x over the indices [first, n), A antisymmetric of which `a` holds the strict lower triangle. Each
/// element is loaded once and used twice (A and −Aᵀ). Four columns at a time from the last multiple of four
/// on: x must be 0 in the up to three places before `first` and in the padding; y is overwritten there.
void multiply(const Columns& a, std::int64_t n, std::int64_t first, const double* x, double* y) {
  static_assert(Columns::kPad == 4, "the columns of one turn of the loop below");
  const std::int64_t begin = first / 4 * 4, end = Columns::padded(n);
  std::fill(y + begin, y + end, 0.0);
  for (std::int64_t j = begin; j < end; j += 4) {
    const double *c0 = a.at(0, j), *c1 = a.at(0, j + 1), *c2 = a.at(0, j + 2), *c3 = a.at(0, j + 3);
    const double x0 = x[j], x1 = x[j + 1], x2 = x[j + 2], x3 = x[j + 3];
    double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    // Aligned: which elements share a vector must follow from the indices, not from where the memory lies.
#pragma omp simd reduction(+ : s0, s1, s2, s3) aligned(c0, c1, c2, c3, x, y : 64)
    for (std::int64_t i = j + 4; i < end; ++i) {
      const double xi = x[i];
      y[i] = multiply_add(c3[i], x3,
                          multiply_add(c2[i], x2, multiply_add(c1[i], x1, multiply_add(c0[i], x0, y[i]))));
      s0 = multiply_add(c0[i], xi, s0);
      s1 = multiply_add(c1[i], xi, s1);
      s2 = multiply_add(c2[i], xi, s2);
      s3 = multiply_add(c3[i], xi, s3);
    }
    // The triangle on the diagonal.
    const double a10 = c0[j + 1], a20 = c0[j + 2], a30 = c0[j + 3], a21 = c1[j + 2], a31 = c1[j + 3],
                 a32 = c2[j + 3];
    y[j] -= s0 + a10 * x1 + a20 * x2 + a30 * x3;
    y[j + 1] += a10 * x0 - a21 * x2 - a31 * x3 - s1;
    y[j + 2] += a20 * x0 + a21 * x1 - a32 * x3 - s2;
    y[j + 3] += a30 * x0 + a31 * x1 + a32 * x2 - s3;
  }
}

/// The strict lower triangle of row-major `input`, in squares that fit the first cache.
void load_lower(const double* input, std::int64_t n, const Columns& a) {
  for (std::int64_t top = 0; top < n; top += kTile)
    for (std::int64_t left = 0; left <= top; left += kTile)
      for (std::int64_t i = top; i < std::min(n, top + kTile); ++i)
        for (std::int64_t j = left; j < std::min(i, left + kTile); ++j) *a.at(i, j) = input[i * n + j];
}

class Reduction {
 public:
  Reduction(const double* input, std::int64_t n) : pairs_(n, 2 * kPanel), turned_(n, 2 * kPanel) {
    const auto size = static_cast<std::size_t>(n);
    t_.n = n;
    t_.below.resize(size - 1);
    t_.tau.resize(size - 1);
    t_.reflectors = Columns(n, n);
    load_lower(input, n, t_.reflectors);
  }

  SkewTridiagonal run() && {
    for (std::int64_t panel = 0; panel < t_.n - 1; panel += kPanel) {
      const std::int64_t width = std::min(kPanel, t_.n - 1 - panel);
      for (std::int64_t done = 0; done < width; ++done) reduce_column(panel + done, done);
      update_rest(panel, width);
    }
    return std::move(t_);
  }

 private:
  /// y [rows from `row` on] += the panel's first `done` pairs times `coefficients` [2·done].
  void add_pairs(std::int64_t row, std::int64_t done, const double* coefficients, double* y) const {
    cblas_dgemv(CblasColMajor, CblasNoTrans, static_cast<int>(t_.n - row), static_cast<int>(2 * done), 1.0,
                pairs_.at(row, 0), pairs_.step(), coefficients, 1, 1.0, y, 1);
  }

  /// Column i, the panel's done-th: its reflector and the pair (v, w).
  void reduce_column(std::int64_t i, std::int64_t done) {
    const std::int64_t below = i + 1, rest = t_.n - below;
    std::array<double, 2 * kPanel> coefficients;
    double* column = t_.reflectors.at(below, i);
    if (done > 0) {  // the column as the panel's reflectors so far leave it
      cblas_dcopy(static_cast<int>(2 * done), turned_.at(i, 0), turned_.step(), coefficients.data(), 1);
      add_pairs(below, done, coefficients.data(), column);
    }
    double& tau = t_.tau[static_cast<std::size_t>(i)];
    LAPACKE_dlarfg_work(static_cast<lapack_int>(rest), column, column + 1, 1, &tau);
    t_.below[static_cast<std::size_t>(i)] = *column;
    *column = tau == 0 ? 0 : 1;
    std::fill(t_.reflectors.at(i - i % SkewTridiagonal::kBlock, i), column, 0.0);

    double *v = pairs_.at(0, 2 * done), *w = pairs_.at(0, 2 * done + 1);
    std::fill(v + std::max<std::int64_t>(0, below - Columns::kPad), v + below, 0.0);
    std::copy_n(column, rest, v + below);
    multiply(t_.reflectors, t_.n, below, v, w);
    if (done > 0) {
      cblas_dgemv(CblasColMajor, CblasTrans, static_cast<int>(rest), static_cast<int>(2 * done), 1.0,
                  turned_.at(below, 0), turned_.step(), column, 1, 0.0, coefficients.data(), 1);
      add_pairs(below, done, coefficients.data(), w + below);
    }
    double *w_turned = turned_.at(0, 2 * done), *v_turned = turned_.at(0, 2 * done + 1);
    for (std::int64_t k = below; k < t_.n; ++k) {
      w[k] *= tau;
      w_turned[k] = w[k];
      v_turned[k] = -v[k];
    }
  }

  /// The lower triangle from the panel's end on, in stripes of columns.
  void update_rest(std::int64_t panel, std::int64_t width) const {
    for (std::int64_t j = panel + width; j < t_.n; j += kStripe)
      cblas_dgemm(CblasColMajor, CblasNoTrans, CblasTrans, static_cast<int>(t_.n - j),
                  static_cast<int>(std::min(kStripe, t_.n - j)), static_cast<int>(2 * width), 1.0,
                  pairs_.at(j, 0), pairs_.step(), turned_.at(j, 0), turned_.step(), 1.0,
                  t_.reflectors.at(j, j), t_.reflectors.step());
  }

  SkewTridiagonal t_;
  Columns pairs_, turned_;  // [n, 2·kPanel] of the present panel
};

}  // namespace

SkewTridiagonal reduce_skew(const double* a, std::int64_t n) {
  if (n == 0) return {};
  return Reduction(a, n).run();
}

}  // namespace aloft::cpu
