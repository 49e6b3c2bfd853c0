#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "host/error.hpp"
#include "kernels/cpu/linear_ops.hpp"
#include "kernels/cpu/parallel.hpp"

// Matrices taken element by element: transposition, permutation, antisymmetric part, sums of products.

namespace aloft::cpu {
namespace {

constexpr std::int64_t kTile = 32;     // 32x32 doubles and their mirror image fit the first-level cache
constexpr std::int64_t kShare = 4096;  // elements summed by one worker; fixes the order of the sum

/// work(item, first row, rows, first column, columns) for every tile of a [batch][m, n] matrix.
template <class Work>
void for_each_tile(std::int64_t batch, std::int64_t m, std::int64_t n, const Work& work) {
  const std::int64_t down = blocks_of(m, kTile), across = blocks_of(n, kTile);
  parallel_for(
      batch * down,
      [&](std::int64_t strip) {
        const std::int64_t i = strip % down * kTile;
        for (std::int64_t j = 0; j < across * kTile; j += kTile)
          work(strip / down, i, std::min(m, i + kTile), j, std::min(n, j + kTile));
      },
      4);
}

/// Elements [first, last) of x: where they lie, or where rows end among them, gathered into `gathered`.
const double* elements(ConstMatrixView x, std::int64_t first, std::int64_t last,
                       std::array<double, kShare>& gathered) {
  if (x.contiguous()) return x.data + first;
  for (std::int64_t e = first; e < last;) {
    const std::int64_t row = e / x.cols, j = e - row * x.cols, count = std::min(last - e, x.cols - j);
    std::copy_n(x.row(row) + j, count, gathered.begin() + (e - first));
    e += count;
  }
  return gathered.data();
}

/// Σ x_j² weights_j of n numbers.
template <class T>
double weighted_norm(const T* x, const double* weights, std::int64_t n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < n; ++j)
    sum += static_cast<double>(x[j]) * static_cast<double>(x[j]) * weights[j];
  return sum;
}

/// kernels/ops.hpp, row_norms.
template <class T>
void norms_of_rows(MatrixViewOf<const T> x, const double* column_weights, double* out) {
  expects(x.batch == 1, "row_norms: one matrix");
  parallel_for(
      x.rows, [&](std::int64_t i) { out[i] = weighted_norm(x.row(i), column_weights, x.cols); }, 64);
}

template <class From, class To>
void convert(MatrixViewOf<const From> x, MatrixViewOf<To> out) {
  expects(x.rows == out.rows && x.cols == out.cols && x.batch == out.batch, "round, widen: one shape");
  const auto convert_row = [&](std::int64_t r) {
    const From* const from = x.row(r);
    To* const to = out.row(r);
    for (std::int64_t j = 0; j < x.cols; ++j) to[j] = static_cast<To>(from[j]);
  };
  parallel_for(x.batch * x.rows, convert_row, 64);
}

template <class T>
void add_multiple(T alpha, MatrixViewOf<const T> x, MatrixViewOf<T> y) {
  expects(x.rows == y.rows && x.cols == y.cols && x.batch == y.batch, "add_scaled: one shape");
  if (!x.contiguous() || !y.contiguous())
    return parallel_for(
        y.batch * y.rows,
        [&](std::int64_t r) {
          const T* const from = x.row(r);
          T* const to = y.row(r);
          for (std::int64_t j = 0; j < y.cols; ++j) to[j] += alpha * from[j];
        },
        64);
  const std::int64_t n = x.size();
  parallel_for(
      blocks_of(n, kShare),
      [&](std::int64_t share) {
        for (std::int64_t i = share * kShare; i < std::min(n, (share + 1) * kShare); ++i)
          y.data[i] += alpha * x.data[i];
      },
      16);
}

}  // namespace

void CpuLinearOps::transpose(ConstMatrixView x, MatrixView out) {
  expects(out.rows == x.cols && out.cols == x.rows && out.batch == x.batch,
          "transpose: x [m, n], out [n, m]");
  for_each_tile(x.batch, x.rows, x.cols,
                [&](std::int64_t item, std::int64_t i0, std::int64_t i1, std::int64_t j0, std::int64_t j1) {
                  const double* const from = x.item(item).data;
                  double* const to = out.item(item).data;
                  for (std::int64_t i = i0; i < i1; ++i)
                    for (std::int64_t j = j0; j < j1; ++j) to[j * out.ld + i] = from[i * x.ld + j];
                });
}

void CpuLinearOps::skew_part(ConstMatrixView x, MatrixView out) {
  expects(x.rows == x.cols && out.rows == x.rows && out.cols == x.cols && out.batch == x.batch,
          "skew_part: x and out [n, n]");
  const std::int64_t n = x.rows;
  for_each_tile(x.batch, n, n,
                [&](std::int64_t item, std::int64_t i0, std::int64_t i1, std::int64_t j0, std::int64_t j1) {
                  const double* const from = x.item(item).data;
                  double* const to = out.item(item).data;
                  for (std::int64_t i = i0; i < i1; ++i)
                    for (std::int64_t j = j0; j < j1; ++j)
                      to[i * out.ld + j] = 0.5 * (from[i * x.ld + j] - from[j * x.ld + i]);
                });
}

void CpuLinearOps::add_scaled(double alpha, ConstMatrixView x, MatrixView y) {
  add_multiple<double>(alpha, x, y);
}
void CpuLinearOps::add_scaled(float alpha, ConstFloatView x, FloatView y) {
  add_multiple<float>(alpha, x, y);
}

void CpuLinearOps::inner(ConstMatrixView x, ConstMatrixView y, double* out) {
  expects(x.rows == y.rows && x.cols == y.cols && x.batch == y.batch, "inner: one shape");
  const std::int64_t n = x.rows * x.cols, shares = blocks_of(n, kShare);
  std::vector<double> partial(static_cast<std::size_t>(x.batch * shares));
  parallel_for(
      x.batch * shares,
      [&](std::int64_t task) {
        const std::int64_t item = task / shares, first = task % shares * kShare,
                           last = std::min(n, first + kShare);
        std::array<double, kShare> of_x, of_y;
        const double *const a = elements(x.item(item), first, last, of_x), *const b =
                                                                               elements(y.item(item), first,
                                                                                        last, of_y);
        double sums[4] = {};  // independent, so that additions overlap
        std::int64_t i = 0;
        for (; i + 4 <= last - first; i += 4)
          for (int k = 0; k < 4; ++k) sums[k] += a[i + k] * b[i + k];
        for (; i < last - first; ++i) sums[0] += a[i] * b[i];
        partial[static_cast<std::size_t>(task)] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
      },
      16);
  for (std::int64_t item = 0; item < x.batch; ++item) {
    double sum = 0;
    for (std::int64_t share = 0; share < shares; ++share)
      sum += partial[static_cast<std::size_t>(item * shares + share)];
    out[item] = sum;
  }
}

void CpuLinearOps::permute(ConstMatrixView x, const std::int32_t* rows, const std::int32_t* columns,
                           MatrixView out) {
  expects(out.batch == x.batch && (rows != nullptr || out.rows == x.rows) &&
              (columns != nullptr || out.cols == x.cols),
          "permute: a row of x for every one of out, and a column");
  parallel_for(
      out.batch * out.rows,
      [&](std::int64_t r) {
        const std::int64_t item = r / out.rows, i = r % out.rows;
        const std::int32_t row = rows == nullptr ? static_cast<std::int32_t>(i) : rows[i];
        const double* const from = x.item(item).data + (row < 0 ? -1 - row : row) * x.ld;
        double* const to = out.item(item).data + i * out.ld;
        const double sign = row < 0 ? -1 : 1;
        for (std::int64_t j = 0; j < out.cols; ++j) {
          const std::int32_t column = columns == nullptr ? static_cast<std::int32_t>(j) : columns[j];
          to[j] = column < 0 ? -sign * from[-1 - column] : sign * from[column];
        }
      },
      16);
}

void CpuLinearOps::round(ConstMatrixView x, FloatView out) { convert<double, float>(x, out); }
void CpuLinearOps::widen(ConstFloatView x, MatrixView out) { convert<float, double>(x, out); }

void CpuLinearOps::row_norms(ConstMatrixView x, const double* column_weights, double* out) {
  norms_of_rows(x, column_weights, out);
}
void CpuLinearOps::row_norms(ConstFloatView x, const double* column_weights, double* out) {
  norms_of_rows(x, column_weights, out);
}

}  // namespace aloft::cpu
