#include "pipeline/analysis/gram_spectra.hpp"

#include <algorithm>
#include <cmath>

#include "pipeline/base/device_math.hpp"

namespace aloft::analysis {
namespace {

struct GramEigen {
  std::vector<double> values;  ///< [batch][n], ascending
  Matrix top;                  ///< [batch][k, n]
};

/// Of m mᵀ, or where that is smaller mᵀ m.
GramEigen of_gram(Context& ctx, ConstMatrixView m, std::int64_t k) {
  const bool wide = m.rows <= m.cols;
  const std::int64_t n = std::min(m.rows, m.cols);
  Matrix gram(ctx.device(), n, n, m.batch);
  ctx.linear().gemm(1, wide ? Op::none : Op::transpose, m, wide ? Op::transpose : Op::none, m, 0,
                    gram.view());
  Buffer<double> values = numbers_on(ctx.device(), m.batch * n);
  GramEigen out;
  if (k > 0) out.top = Matrix(ctx.device(), k, n, m.batch);
  ctx.linear().eigh_top(gram.cview(), values.data(), out.top.view());
  out.values = to_host(values);
  return out;
}

}  // namespace

std::vector<double> gram_values(Context& ctx, ConstMatrixView m) {
  std::vector<double> out = of_gram(ctx, m, 0).values;
  const std::int64_t n = std::min(m.rows, m.cols);
  for (double& x : out) x = std::sqrt(std::max(x, 0.0));
  for (std::int64_t b = 0; b < m.batch; ++b) std::reverse(out.begin() + b * n, out.begin() + (b + 1) * n);
  return out;
}

GramSpectra gram_spectra(Context& ctx, ConstMatrixView m, std::int64_t k) {
  GramEigen gram = of_gram(ctx, m, k);
  GramSpectra out{std::move(gram.values), std::move(gram.top), {}};
  for (double& x : out.sigma) x = std::sqrt(std::max(x, 0.0));
  for (std::int64_t b = 0; b < m.batch; ++b)
    std::reverse(out.sigma.begin() + b * m.rows, out.sigma.begin() + (b + 1) * m.rows);
  Matrix across(ctx.device(), m.cols, k, m.batch);  // mᵀ uᵀ: the right directions times their values
  ctx.linear().gemm(1, Op::transpose, m, Op::transpose, out.left.cview(), 0, across.view());
  ctx.linear().orthonormalize(across.view());
  out.right = transposed(ctx, across.cview());
  return out;
}

// a aᵀ = −a² has every plane's value squared, twice, and its directions.
GramPlanes gram_planes(Context& ctx, ConstMatrixView a, std::int64_t k) {
  GramEigen gram = of_gram(ctx, a, k);
  GramPlanes out{{}, std::move(gram.top)};
  const std::int64_t n = a.rows;
  for (std::int64_t b = 0; b < a.batch; ++b)
    for (std::int64_t i = 0; i < n / 2; ++i) {
      const auto last = static_cast<std::size_t>((b + 1) * n - 1 - 2 * i);
      out.planes.push_back(std::sqrt(std::max((gram.values[last] + gram.values[last - 1]) / 2, 0.0)));
    }
  return out;
}

}  // namespace aloft::analysis
