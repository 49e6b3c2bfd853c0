#include <algorithm>
#include <cmath>
#include <vector>

#include "host/error.hpp"
#include "kernels/cpu/linear_ops.hpp"
#include "kernels/cpu/parallel.hpp"

// Counts weighted by the attention that their tokens would pay each other.

namespace aloft::cpu {
namespace {

constexpr std::int64_t kRows = 16;  // rows of text are uneven: few at a time

double dot(const double* x, const double* y, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += x[i] * y[i];
  return sum;
}

}  // namespace

RealCsr CpuLinearOps::attention_weighted(RealCsrView a, ConstMatrixView queries, ConstMatrixView keys,
                                         std::int64_t heads, double scale) {
  expects(queries.rows == a.rows && keys.rows == a.cols && queries.cols == keys.cols && heads > 0 &&
              queries.cols % heads == 0,
          "attention_weighted: queries [rows, k], keys [cols, k], heads a divisor of k");
  const auto nnz = static_cast<std::size_t>(a.nnz);
  RealCsr out{a.rows, a.cols, Buffer<std::uint64_t>(device_, static_cast<std::size_t>(a.rows) + 1),
              Buffer<std::uint32_t>(device_, nnz), Buffer<double>(device_, nnz)};
  std::copy_n(a.row_offsets, a.rows + 1, out.row_offsets.data());
  std::copy_n(a.columns, nnz, out.columns.data());
  const std::int64_t width = queries.cols / heads;
  parallel_for(
      a.rows,
      [&](std::int64_t i) {
        const std::uint64_t begin = a.row_offsets[i], end = a.row_offsets[i + 1];
        double* const weights = out.values.data() + begin;
        std::fill_n(weights, end - begin, 0.0);
        std::vector<double> scores(end - begin);
        for (std::int64_t h = 0; h < heads; ++h) {
          double largest = -HUGE_VAL, sum = 0;
          for (std::uint64_t e = begin; e < end; ++e) {
            scores[e - begin] =
                scale * dot(queries.row(i) + h * width, keys.row(a.columns[e]) + h * width, width);
            largest = std::max(largest, scores[e - begin]);
          }
          for (double& s : scores) sum += s = std::exp(s - largest);
          for (std::size_t e = 0; e < scores.size(); ++e) weights[e] += scores[e] / sum;
        }
        for (std::uint64_t e = begin; e < end; ++e)
          weights[e - begin] *= a.values[e] / static_cast<double>(heads);
      },
      kRows);
  return out;
}

}  // namespace aloft::cpu
