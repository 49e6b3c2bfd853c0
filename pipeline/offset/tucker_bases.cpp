#include "pipeline/offset/tucker_bases.hpp"

#include <algorithm>
#include <cmath>

#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"

namespace aloft::offset {
namespace {

constexpr double kGramRidge = 1e-5;  // of the mean eigenvalue

/// x *= p^power, row by row.
void scale_rows(Context& ctx, Matrix& x, const std::vector<double>& p, double power) {
  std::vector<double> factors;
  for (const double share : p) factors.push_back(std::pow(share, power));
  const Buffer<double> scale = device_vector(ctx, factors);
  ctx.linear().scale(x.view(), scale.data(), nullptr);
}

}  // namespace

void make_orthonormal(Context& ctx, Matrix& target, const std::vector<double>& p) {
  scale_rows(ctx, target, p, 0.5);
  ctx.linear().orthonormalize(target.view());
  scale_rows(ctx, target, p, -0.5);
}

TuckerBases bases_of(Context& ctx, const LogRatios& ratios, const FactorParams& p) {
  TuckerBases out;
  {
    Subspace rows = ratios.basis(Op::none, p.d_s, p.seed);
    std::vector<double> roots;
    for (const double x : rows.values) roots.push_back(std::sqrt(std::max(0.0, x)));
    const Buffer<double> root = device_vector(ctx, roots);
    ctx.linear().scale(rows.columns.view(), nullptr, root.data());
    scale_rows(ctx, rows.columns, ratios.p(), -0.5);
    make_unit(ctx, rows.columns, 1e-9);
    out.source = std::move(rows.columns);
  }
  out.target = ratios.basis(Op::transpose, p.d_o, p.seed + 1).columns;
  ctx.linear().orthonormalize(out.target.view());
  scale_rows(ctx, out.target, ratios.p(), -0.5);
  return out;
}

Matrix cores_of(Context& ctx, const LogRatios& ratios, const TuckerBases& bases) {
  LinearOps& linear = ctx.linear();
  const std::int64_t vocab = ratios.vocab(), d_s = bases.source.cols, d_o = bases.target.cols;
  Matrix weighted = copy_of(bases.source), gram(ctx.device(), d_s, d_s);
  linear.scale(weighted.view(), ratios.share().data(), nullptr);
  linear.gemm(1, Op::transpose, bases.source.cview(), Op::none, weighted.cview(), 0, gram.view());
  const double ridge = kGramRidge * mean_diagonal(gram);
  const Matrix inverse = symmetric_function(ctx, gram.cview(), 0, [&](double x) { return 1 / (x + ridge); });
  Matrix target = copy_of(bases.target);
  linear.scale(target.view(), ratios.share().data(), nullptr);
  Matrix product(ctx.device(), vocab, d_o), small(ctx.device(), d_s, d_o),
      out(ctx.device(), ratios.lags() * d_s, d_o);
  for (std::int32_t l = 0; l < ratios.lags(); ++l) {
    ratios.apply(l, target.cview(), product.view());
    linear.gemm(1, Op::transpose, weighted.cview(), Op::none, product.cview(), 0, small.view());
    linear.gemm(1, Op::none, inverse.cview(), Op::none, small.cview(), 0, out.view().row_block(l * d_s, d_s));
  }
  return out;
}

Peak bases_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p) {
  const std::int64_t v = counts.vocab;
  const auto real = [](std::int64_t rows, std::int64_t cols) { return on_device(matrix_bytes(rows, cols)); };
  Peak out;
  out.reach({}, log_ratios_basis_memory(ops, counts, p, p.d_s));
  out.reach(real(v, p.d_s + 2) + on_host(matrix_bytes(v, 2)));
  out.reach(real(v, p.d_s), log_ratios_basis_memory(ops, counts, p, p.d_o));
  out.reach(real(v, p.d_s + p.d_o) + ops.orthonormalize_scratch(v, p.d_o, 1));
  out.reach(real(v, p.d_s + p.d_o + 1) + on_host(matrix_bytes(v, 1)));
  return out;
}

Peak cores_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p) {
  const std::int64_t v = counts.vocab, d_s = p.d_s, d_o = p.d_o, most = counts.most_entries();
  const auto real = [](std::int64_t rows, std::int64_t cols) { return on_device(matrix_bytes(rows, cols)); };
  const Footprint cores = real(p.lags * d_s, d_o), weighted = real(v, d_s);
  Peak out;
  out.reach(weighted + real(d_s, 4 * d_s + 1) + ops.eigh_scratch(d_s, 1));
  out.reach(weighted + cores + real(d_s, 2 * d_s + d_o) + real(v, 2 * d_o) +
            ops.spmm_scratch(v, v, most, d_o));
  return out;
}

}  // namespace aloft::offset
