#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "host/error.hpp"
#include "kernels/cpu/linear_ops.hpp"
#include "kernels/cpu/parallel.hpp"

// Real arithmetic on sparse matrices: products, pointwise mutual information, the inner product with the
// transpose.

namespace aloft::cpu {
namespace {

constexpr std::int64_t kRowGrain =
    16;  // rows a worker takes at a time; few, since rows of text are very uneven

__extension__ typedef unsigned __int128 Product;  // of two counts, exact

/// Compensated sum (Neumaier): the error does not grow with the number of rows.
class Sum {
 public:
  void add(double x) {
    const double t = sum_ + x;
    lost_ += std::abs(sum_) >= std::abs(x) ? (sum_ - t) + x : (x - t) + sum_;
    sum_ = t;
  }
  [[nodiscard]] double value() const { return sum_ + lost_; }

 private:
  double sum_ = 0, lost_ = 0;
};

/// A vector register of neighbouring columns, and how many they are.
template <class T>
struct Lanes;
template <>
struct Lanes<double> {
  using type = double __attribute__((vector_size(32), aligned(8), may_alias));
};
template <>
struct Lanes<float> {
  using type = float __attribute__((vector_size(32), aligned(4), may_alias));
};
template <class T>
constexpr std::int64_t kWide = 32 / std::int64_t{sizeof(T)};

// The product is made for a few columns of x at a time, packed without gaps: what the frequent columns of `a`
// need then stays in the cache (2.5 times the speed of whole rows of x, k = 288), and the sums stay in
// registers.
template <class T>
constexpr std::int64_t kTile = kSparseTile* std::int64_t{sizeof(double)} / std::int64_t{sizeof(T)};
// Entries ahead, also of the next rows; hides the cache misses of the rare columns.
constexpr std::int64_t kPrefetch = 16;

/// y[0..width) = Σ_e values[e] · x[columns[e]][0..width), e over row i. x: packed, `lanes` lanes a row.
template <class T, int lanes>
void multiply_row(const CsrViewOf<T>& a, std::int64_t i, const T* packed, T* y, std::int64_t width) {
  using Lane = typename Lanes<T>::type;
  const Lane* const x = reinterpret_cast<const Lane*>(packed);
  Lane sum[lanes] = {};
  const auto end = static_cast<std::int64_t>(a.row_offsets[i + 1]);
  for (auto e = static_cast<std::int64_t>(a.row_offsets[i]); e < end; ++e) {
    if (e + kPrefetch < a.nnz)
      for (int l = 0; l < lanes; l += 2)
        __builtin_prefetch(x + std::int64_t{a.columns[e + kPrefetch]} * lanes + l);
    const T v = a.values[e];
    const Lane* from = x + std::int64_t{a.columns[e]} * lanes;
    for (int l = 0; l < lanes; ++l) sum[l] += v * from[l];
  }
  std::memcpy(y, sum, static_cast<std::size_t>(width) * sizeof(T));
}

/// y [rows, width] at stride k = a · packed x, whose rows are `lanes` lanes, zero beyond `width`.
template <class T, int lanes>
void multiply_tile(const CsrViewOf<T>& a, MatrixViewOf<const T> x, std::int64_t first, std::int64_t width,
                   T* packed, MatrixViewOf<T> y) {
  parallel_for(
      x.rows,
      [&](std::int64_t r) {
        T* to = std::copy_n(x.row(r) + first, width, packed + r * lanes * kWide<T>);
        std::fill(to, packed + (r + 1) * lanes * kWide<T>, T{0});
      },
      1024);
  parallel_for(
      a.rows, [&](std::int64_t i) { multiply_row<T, lanes>(a, i, packed, y.row(i) + first, width); },
      kRowGrain);
}

template <class T>
void multiply(Device& device, const CsrViewOf<T>& a, MatrixViewOf<const T> x, MatrixViewOf<T> y) {
  expects(x.rows == a.cols && y.rows == a.rows && x.cols == y.cols && x.batch == 1 && y.batch == 1,
          "spmm: a [m, n], x [n, k], y [m, k]");
  constexpr int most = static_cast<int>(kTile<T> / kWide<T>);
  Buffer<T> packed(device, static_cast<std::size_t>(x.rows * kTile<T>));
  for (std::int64_t first = 0; first < x.cols; first += kTile<T>) {
    const std::int64_t width = std::min(kTile<T>, x.cols - first), lanes = blocks_of(width, kWide<T>);
    const auto tile = lanes > most / 2   ? multiply_tile<T, most>
                      : lanes > most / 4 ? multiply_tile<T, most / 2>
                      : lanes > most / 8 ? multiply_tile<T, most / 4>
                                         : multiply_tile<T, std::max(most / 8, 1)>;
    tile(a, x, first, width, packed.data(), y);
  }
}

}  // namespace

void CpuLinearOps::spmm(RealCsrView a, ConstMatrixView x, MatrixView y) {
  multiply<double>(device_, a, x, y);
}
void CpuLinearOps::spmm(FloatCsrView a, ConstFloatView x, FloatView y) { multiply<float>(device_, a, x, y); }

FloatCsr CpuLinearOps::round(RealCsrView a) {
  const auto nnz = static_cast<std::size_t>(a.row_offsets[a.rows]);
  FloatCsr out{a.rows, a.cols, Buffer<std::uint64_t>(device_, static_cast<std::size_t>(a.rows) + 1),
               Buffer<std::uint32_t>(device_, nnz), Buffer<float>(device_, nnz)};
  std::copy_n(a.row_offsets, a.rows + 1, out.row_offsets.data());
  std::copy_n(a.columns, nnz, out.columns.data());
  std::transform(a.values, a.values + nnz, out.values.data(), [](double x) { return static_cast<float>(x); });
  return out;
}

RealCsr CpuLinearOps::log1p_scaled(CountCsrView a, const double* column_scale) {
  const std::uint64_t nnz = a.row_offsets[a.rows];
  RealCsr out{a.rows, a.cols, Buffer<std::uint64_t>(device_, static_cast<std::size_t>(a.rows) + 1),
              Buffer<std::uint32_t>(device_, nnz), Buffer<double>(device_, nnz)};
  std::copy_n(a.row_offsets, a.rows + 1, out.row_offsets.data());
  std::copy_n(a.columns, nnz, out.columns.data());
  parallel_for(
      a.rows,
      [&](std::int64_t i) {
        for (std::uint64_t e = a.row_offsets[i]; e < a.row_offsets[i + 1]; ++e)
          out.values.data()[e] = std::log1p(static_cast<double>(a.values[e]) * column_scale[a.columns[e]]);
      },
      kRowGrain);
  return out;
}

RealCsr CpuLinearOps::positive_pmi(CountCsrView a) {
  std::vector<std::uint64_t> row_sums(static_cast<std::size_t>(a.rows));
  std::vector<std::uint64_t> column_sums(static_cast<std::size_t>(a.cols));
  marginals(a, row_sums.data(), column_sums.data());
  std::uint64_t total = 0;
  for (const auto sum : row_sums) total += sum;

  // Products of counts are compared exactly, so every backend keeps the same entries; the logarithm is taken
  // of 1 + (joint − expected)/expected, which keeps its digits where the two nearly agree.
  const auto expected = [&](std::int64_t i, std::uint64_t e) {
    return Product{row_sums[static_cast<std::size_t>(i)]} * column_sums[a.columns[e]];
  };
  std::vector<std::uint64_t> offsets(static_cast<std::size_t>(a.rows) + 1);
  parallel_for(
      a.rows,
      [&](std::int64_t i) {
        std::uint64_t kept = 0;
        for (std::uint64_t e = a.row_offsets[i]; e < a.row_offsets[i + 1]; ++e)
          kept += Product{a.values[e]} * total > expected(i, e) ? 1 : 0;
        offsets[static_cast<std::size_t>(i) + 1] = kept;
      },
      kRowGrain);
  for (std::size_t i = 0; i < static_cast<std::size_t>(a.rows); ++i) offsets[i + 1] += offsets[i];

  RealCsr out{a.rows, a.cols, Buffer<std::uint64_t>(device_, offsets.size()),
              Buffer<std::uint32_t>(device_, offsets.back()), Buffer<double>(device_, offsets.back())};
  std::copy(offsets.begin(), offsets.end(), out.row_offsets.data());
  parallel_for(
      a.rows,
      [&](std::int64_t i) {
        std::uint64_t to = offsets[static_cast<std::size_t>(i)];
        for (std::uint64_t e = a.row_offsets[i]; e < a.row_offsets[i + 1]; ++e) {
          const Product joint = Product{a.values[e]} * total;
          const Product null = expected(i, e);
          if (joint <= null) continue;
          out.columns.data()[to] = a.columns[e];
          out.values.data()[to++] = std::log1p(static_cast<double>(joint - null) / static_cast<double>(null));
        }
      },
      kRowGrain);
  return out;
}

TransposeInner CpuLinearOps::transpose_inner(RealCsrView a) {
  expects(a.rows == a.cols, "transpose_inner: a is square");
  const RealCsr mirrored = transpose(a);
  const RealCsrView t = mirrored.view();
  std::vector<TransposeInner> rows(static_cast<std::size_t>(a.rows));
  parallel_for(
      a.rows,
      [&](std::int64_t i) {
        Sum norm2, inner;
        std::uint64_t f = t.row_offsets[i];
        const std::uint64_t f_end = t.row_offsets[i + 1];
        for (std::uint64_t e = a.row_offsets[i]; e < a.row_offsets[i + 1]; ++e) {
          norm2.add(a.values[e] * a.values[e]);
          while (f < f_end && t.columns[f] < a.columns[e]) ++f;
          if (f < f_end && t.columns[f] == a.columns[e]) inner.add(a.values[e] * t.values[f]);
        }
        rows[static_cast<std::size_t>(i)] = {norm2.value(), inner.value()};
      },
      kRowGrain);
  Sum norm2, inner;
  for (const auto& row : rows) {
    norm2.add(row.norm2);
    inner.add(row.inner);
  }
  return {norm2.value(), inner.value()};
}

}  // namespace aloft::cpu
