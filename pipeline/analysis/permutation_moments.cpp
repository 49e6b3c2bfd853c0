#include "pipeline/analysis/permutation_moments.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pipeline/base/device_math.hpp"

namespace aloft::analysis {

std::vector<ConjugationStats> conjugation_stats(Context& ctx, ConstMatrixView m,
                                                const std::vector<double>& norm2,
                                                const std::vector<double>& transpose_inner) {
  const std::int64_t d = m.rows;
  // the diagonal is a column whose rows lie d + 1 apart
  Matrix diagonals(ctx.device(), d, 1, m.batch);
  copy(ctx.device(), ConstMatrixView(m.data, d, 1, m.batch, m.ld + 1, m.stride), diagonals.view());
  const auto diagonal = to_host(diagonals);
  std::vector<ConjugationStats> out;
  for (std::int64_t b = 0; b < m.batch; ++b) {
    ConjugationStats s;
    for (std::int64_t i = 0; i < d; ++i) {
      const double x = diagonal[static_cast<std::size_t>(b * d + i)];
      s.trace += x;
      s.diagonal2 += x * x;
    }
    s.norm2 = norm2[static_cast<std::size_t>(b)];
    s.transpose_inner = transpose_inner[static_cast<std::size_t>(b)];
    out.push_back(s);
  }
  return out;
}

std::vector<ConjugationStats> projection_stats(Context& ctx, ConstMatrixView rows) {
  const std::int64_t k = rows.rows, d = rows.cols;
  const auto host = to_host(ctx.device(), rows);
  std::vector<ConjugationStats> out;
  for (std::int64_t b = 0; b < rows.batch; ++b) {
    const auto row = [&](std::int64_t r) { return host.data() + (b * k + r) * d; };
    ConjugationStats s;
    for (std::int64_t i = 0; i < d; ++i) {
      double diagonal = 0;
      for (std::int64_t r = 0; r < k; ++r) diagonal += row(r)[i] * row(r)[i];
      s.trace += diagonal;
      s.diagonal2 += diagonal * diagonal;
    }
    for (std::int64_t r = 0; r < k; ++r)  // ‖RᵀR‖² = ‖R Rᵀ‖²
      for (std::int64_t q = 0; q < k; ++q) {
        const double inner = std::inner_product(row(r), row(r) + d, row(q), 0.0);
        s.norm2 += inner * inner;
      }
    s.transpose_inner = s.norm2;
    out.push_back(s);
  }
  return out;
}

NullMoments conjugation_moments(const ConjugationStats& m, const ConjugationStats& x, std::int64_t d) {
  const auto n = static_cast<double>(d);
  if (d < 2) return {m.trace * x.trace, 0};
  const auto spread = [n](const ConjugationStats& s) { return s.diagonal2 - s.trace * s.trace / n; };
  const double off = (m.norm2 - m.diagonal2) * (x.norm2 - x.diagonal2) +
                     (m.transpose_inner - m.diagonal2) * (x.transpose_inner - x.diagonal2);
  const double variance = spread(m) * spread(x) / (n - 1) + off / (n * (n - 1));
  return {m.trace * x.trace / n, std::sqrt(std::max(variance, 0.0))};
}

}  // namespace aloft::analysis
