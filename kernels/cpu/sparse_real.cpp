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

using Lane = double __attribute__((vector_size(32), aligned(8)));  // four neighbouring columns

/// y[0..4·lanes) = Σ_e values[e] · x[columns[e]][0..4·lanes), e in [begin, end). The sums stay in registers.
template <int lanes>
void multiply_row(const RealCsrView& a, std::uint64_t begin, std::uint64_t end, const double* x,
                  std::int64_t k, double* y) {
  Lane sum[lanes] = {};
  for (std::uint64_t e = begin; e < end; ++e) {
    const double v = a.values[e];
    const auto* from = reinterpret_cast<const Lane*>(x + static_cast<std::int64_t>(a.columns[e]) * k);
    for (int l = 0; l < lanes; ++l) sum[l] += v * from[l];
  }
  std::memcpy(y, sum, sizeof sum);
}

void multiply_row_scalar(const RealCsrView& a, std::uint64_t begin, std::uint64_t end, const double* x,
                         std::int64_t k, double* y) {
  double sum = 0;
  for (std::uint64_t e = begin; e < end; ++e)
    sum += a.values[e] * x[static_cast<std::int64_t>(a.columns[e]) * k];
  *y = sum;
}

}  // namespace

void CpuLinearOps::spmm(RealCsrView a, ConstMatrixView x, MatrixView y) {
  expects(x.rows == a.cols && y.rows == a.rows && x.cols == y.cols && x.batch == 1 && y.batch == 1,
          "spmm: a [m, n], x [n, k], y [m, k]");
  const std::int64_t k = x.cols;
  parallel_for(
      a.rows,
      [&](std::int64_t i) {
        const std::uint64_t begin = a.row_offsets[i], end = a.row_offsets[i + 1];
        double* out = y.data + i * k;
        std::int64_t c = 0;
        for (; c + 48 <= k; c += 48) multiply_row<12>(a, begin, end, x.data + c, k, out + c);
        for (; c + 16 <= k; c += 16) multiply_row<4>(a, begin, end, x.data + c, k, out + c);
        for (; c + 4 <= k; c += 4) multiply_row<1>(a, begin, end, x.data + c, k, out + c);
        for (; c < k; ++c) multiply_row_scalar(a, begin, end, x.data + c, k, out + c);
      },
      kRowGrain);
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
