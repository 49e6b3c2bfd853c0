#include "pipeline/offset/log_ratios.hpp"

#include <array>
#include <cmath>
#include <functional>

#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/base/krylov_subspace.hpp"

namespace aloft::offset {
namespace {

constexpr std::array kMix{1.0, 0.6, 0.4, 0.4};  // how much each lag shapes the shared bases; then 0.3
constexpr int kTuckerPower = 2;                 // with 1 models start 0.05 nats higher

double mix_of(std::int32_t lag) { return lag < static_cast<std::int32_t>(kMix.size()) ? at(kMix, lag) : 0.3; }

}  // namespace

LogRatios::LogRatios(Context& ctx, const Counts& counts, const FactorParams& p, double kappa)
    : ctx_(ctx), vocab_(counts.vocab), p_(smoothed_unigram(counts.unigram)), share_(device_vector(ctx, p_)) {
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

namespace {

/// y −= a (1ᵀ x) where `mean_left`, y −= 1 (aᵀ x) otherwise: x, y [V, k], a and ones [V, 1].
template <class T>
void centre(Context& ctx, bool mean_left, MatrixViewOf<const T> mean, MatrixViewOf<const T> ones,
            MatrixViewOf<const T> x, MatrixViewOf<T> y) {
  MatrixOf<T> row(ctx.device(), 1, x.cols);
  ctx.linear().gemm(T{1}, Op::transpose, mean_left ? ones : mean, Op::none, x, T{0}, row.view());
  ctx.linear().gemm(T{-1}, Op::none, mean_left ? mean : ones, Op::none, row.cview(), T{1}, y);
}

/// One lag as the products for bases need it.
template <class T>
struct Factor {
  CsrViewOf<T> n;  ///< N
  Csr<T> nt;       ///< its transpose
  Csr<T> kept;     ///< what n shows, where nobody else has it
  MatrixOf<T> mean;
  T mix;

  void apply(Context& ctx, bool transpose, const MatrixOf<T>& ones, const MatrixOf<T>& x,
             MatrixOf<T>& y) const {
    ctx.linear().spmm(transpose ? nt.view() : n, x.cview(), y.view());
    centre<T>(ctx, !transpose, mean.cview(), ones.cview(), x.cview(), y.view());
  }
};

/// Σ w_l² X_l X_lᵀ (op none) or Σ w_l² X_lᵀ X_l as a product.
template <class T>
class Squares {
 public:
  Squares(Context& ctx, Op op, const std::vector<double>& p, const Buffer<double>& share)
      : ctx_(ctx), op_(op), share_(share) {
    std::vector<double> roots;
    for (const double x : p) roots.push_back(std::sqrt(x));
    root_ = device_vector(ctx, roots);
  }
  std::vector<Factor<T>> factors;
  MatrixOf<T> ones;

  void operator()(MatrixViewOf<const T> in, MatrixViewOf<T> out) const {
    LinearOps& linear = ctx_.linear();
    MatrixOf<T> x(ctx_.device(), in.rows, in.cols), y(ctx_.device(), in.rows, in.cols),
        z(ctx_.device(), in.rows, in.cols);
    copy(ctx_.device(), in, x.view());
    linear.scale(x.view(), root_.data(), nullptr);
    zero(ctx_.device(), out);
    for (const Factor<T>& f : factors) {
      f.apply(ctx_, op_ == Op::none, ones, x, y);
      linear.scale(y.view(), share_.data(), nullptr);
      f.apply(ctx_, op_ != Op::none, ones, y, z);
      linear.add_scaled(f.mix * f.mix, z.cview(), out);
    }
    linear.scale(out, root_.data(), nullptr);
  }

 private:
  Context& ctx_;
  Op op_;
  const Buffer<double>& share_;
  Buffer<double> root_;
};

FloatMatrix rounded(Context& ctx, const Matrix& x) {
  FloatMatrix out(ctx.device(), x.rows, x.cols);
  ctx.linear().round(x.cview(), out.view());
  return out;
}

}  // namespace

void LogRatios::apply(std::int32_t l, ConstMatrixView x, MatrixView y) const {
  const Lag& lag = at(lags_, l);
  ctx_.linear().spmm(lag.n.view(), x, y);
  centre<double>(ctx_, true, lag.mean.cview(), ones_.cview(), x, y);
}

Subspace LogRatios::basis(Op op, std::int64_t k, std::uint64_t seed) const {
  LinearOps& linear = ctx_.linear();
  if (soon_dense(vocab_, k)) {
    Squares<double> squares(ctx_, op, p_, share_);
    squares.ones = copy_of(ones_);
    for (std::int32_t l = 0; l < lags(); ++l) {
      const Lag& lag = at(lags_, l);
      squares.factors.push_back(
          {lag.n.view(), linear.transpose(lag.n.view()), {}, copy_of(lag.mean), mix_of(l)});
    }
    return subspace_of(ctx_, largest_eigenpairs(ctx_, vocab_, std::cref(squares), k, 1, seed, kFactors.name));
  }
  Squares<float> squares(ctx_, op, p_, share_);
  squares.ones = rounded(ctx_, ones_);
  for (std::int32_t l = 0; l < lags(); ++l) {
    const Lag& lag = at(lags_, l);
    FloatCsr n = linear.round(lag.n.view());
    const FloatCsrView view = n.view();
    squares.factors.push_back({view, linear.round(linear.transpose(lag.n.view()).view()), std::move(n),
                               rounded(ctx_, lag.mean), static_cast<float>(mix_of(l))});
  }
  return leading_subspace(ctx_, vocab_, std::cref(squares), k, kTuckerPower, seed, kFactors.name);
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
  const bool dense = soon_dense(v, k);
  const auto bytes = dense ? csr_bytes : float_csr_bytes;
  Footprint held = on_device(matrix_bytes(v, 2 + p.lags)) + on_host(matrix_bytes(v, 1));
  for (std::int32_t l = 0; l < p.lags; ++l) {
    const Footprint csr = on_device(bytes(v, at(counts.entries, l)));
    held = dense ? held + csr : held + csr + csr;
  }
  const auto product = [&](std::int64_t columns) {
    return on_device(matrix_bytes(v, 3 * columns)) + ops.spmm_scratch(v, v, most, columns);
  };
  Peak out;
  out.reach(held + on_device(csr_bytes(v, most)) + ops.sparse_scratch(v, most));
  out.reach(held, dense ? krylov_memory(ops, v, k, product) : leading_subspace_memory(ops, v, k, product));
  return out;
}

}  // namespace aloft::offset
