#include "pipeline/offset/log_ratios.hpp"

#include <array>
#include <cmath>

#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"

namespace aloft::offset {
namespace {

constexpr std::array kMix{1.0, 0.6, 0.4, 0.4};  // how much each lag shapes the shared bases; then 0.3
constexpr int kTuckerPower = 3;                 // with 1 models start 0.02 to 0.06 nats higher, by seed

double mix_of(std::int32_t lag) { return lag < static_cast<std::int32_t>(kMix.size()) ? at(kMix, lag) : 0.3; }

}  // namespace

LogRatios::LogRatios(Context& ctx, const Counts& counts, const FactorParams& p, double kappa)
    : ctx_(ctx), vocab_(counts.vocab), p_(smoothed_unigram(counts)), share_(device_vector(ctx, p_)) {
  std::vector<double> scale;
  for (const double x : p_) scale.push_back(1 / (kappa * x));
  ones_ = matrix_from(ctx.device(), host_vector(vocab_, 1), vocab_, 1);
  const Buffer<double> column_scale = device_vector(ctx, scale);
  for (std::int32_t l = 0; l < p.lags; ++l) {
    Lag lag;
    lag.n = ctx.linear().log1p_scaled(at(counts.lags, l).view(), column_scale.data());
    lag.mean = Matrix(ctx.device(), vocab_, 1);
    ctx.linear().spmm(lag.n.view(), ConstMatrixView(share_.data(), vocab_, 1), lag.mean.view());
    lags_.push_back(std::move(lag));
  }
}

void LogRatios::apply(std::int32_t l, ConstMatrixView x, MatrixView y) const {
  const Lag& lag = at(lags_, l);
  LinearOps& linear = ctx_.linear();
  Matrix row(ctx_.device(), 1, x.cols);
  linear.spmm(lag.n.view(), x, y);
  linear.gemm(1, Op::transpose, ones_.cview(), Op::none, x, 0, row.view());
  linear.gemm(-1, Op::none, lag.mean.cview(), Op::none, row.cview(), 1, y);
}

EigenPairs LogRatios::basis(Op op, std::int64_t k, std::uint64_t seed) const {
  LinearOps& linear = ctx_.linear();
  std::vector<double> roots;
  for (const double x : p_) roots.push_back(std::sqrt(x));
  const Buffer<double> root = device_vector(ctx_, roots);
  std::vector<RealCsr> transposes;
  for (const Lag& lag : lags_) transposes.push_back(linear.transpose(lag.n.view()));
  const auto apply_transpose = [&](std::int32_t l, ConstMatrixView x, MatrixView y) {
    Matrix row(ctx_.device(), 1, x.cols);
    linear.spmm(at(transposes, l).view(), x, y);
    linear.gemm(1, Op::transpose, at(lags_, l).mean.cview(), Op::none, x, 0, row.view());
    linear.gemm(-1, Op::none, ones_.cview(), Op::none, row.cview(), 1, y);
  };
  const auto product = [&](ConstMatrixView in, MatrixView out) {
    Matrix x = copy_of(ctx_.device(), in), y(ctx_.device(), vocab_, in.cols),
           z(ctx_.device(), vocab_, in.cols);
    linear.scale(x.view(), root.data(), nullptr);
    zero(ctx_.device(), out);
    for (std::int32_t l = 0; l < lags(); ++l) {
      const double w = mix_of(l);
      op == Op::none ? apply_transpose(l, x.cview(), y.view()) : apply(l, x.cview(), y.view());
      linear.scale(y.view(), share_.data(), nullptr);
      op == Op::none ? apply(l, y.cview(), z.view()) : apply_transpose(l, y.cview(), z.view());
      linear.add_scaled(w * w, z.cview(), out);
    }
    linear.scale(out, root.data(), nullptr);
  };
  return leading_eigenpairs(ctx_, vocab_, product, k, kTuckerPower, seed, "factors");
}

Footprint log_ratios_held(const CountsShape& counts, const FactorParams& p) {
  const std::int64_t v = counts.vocab;
  Footprint out = on_device(matrix_bytes(v, 2)) + on_host(matrix_bytes(v, 1));
  for (std::int32_t l = 0; l < p.lags; ++l)
    out = out + on_device(csr_bytes(v, at(counts.entries, l)) + matrix_bytes(v, 1));
  return out;
}

Peak log_ratios_basis_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p,
                             std::int64_t k) {
  const std::int64_t v = counts.vocab, most = counts.most_entries();
  Footprint transposes = on_device(matrix_bytes(v, 1)) + on_host(matrix_bytes(v, 1));
  for (std::int32_t l = 0; l < p.lags; ++l)
    transposes = transposes + on_device(csr_bytes(v, at(counts.entries, l)));
  Peak out;
  out.reach(transposes + ops.sparse_scratch(v, most));
  out.reach(transposes, leading_eigenpairs_memory(ops, v, k, [&](std::int64_t columns) {
              return on_device(matrix_bytes(v, 3 * columns)) + ops.spmm_scratch(v, v, most, columns);
            }));
  return out;
}

}  // namespace aloft::offset
