#include <array>
#include <cmath>

#include "host/error.hpp"
#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/base/krylov_eigen.hpp"
#include "pipeline/offset/estimators.hpp"
#include "pipeline/offset/weight_fit.hpp"

// Higher-order SVD of the smoothed log-ratio of every lag, log((J_n[i,j] + κ p_j) / ((J_n[i,·] + κ) p_j)), in
// the metric of the unigram. Softmax ignores what is constant in j, so only its sparse part N_n = log(1 +
// J_n/(κ p_j)) is needed, centred by a rank-one correction: M_n = N_n − (N_n p) 1ᵀ. No V×V matrix is ever
// formed.

namespace aloft::offset {
namespace {

constexpr double kTuckerKappa = 200;
constexpr std::array kTuckerKappas{100.0, 200.0, 400.0, 800.0};  // what a held-out slice may choose from
constexpr std::array kMix{1.0, 0.6, 0.4, 0.4};  // how much each lag shapes the shared bases; then 0.3
constexpr std::array kStart{0.8, 0.4};  // lag weights to start from, and where nothing is held out; then 0.2
constexpr double kGramRidge = 1e-5;     // of the mean eigenvalue
constexpr int kTuckerPower = 1;         // a step already is 2·lags sparse products

double mix_of(std::int32_t lag) { return lag < static_cast<std::int32_t>(kMix.size()) ? at(kMix, lag) : 0.3; }

class LogRatios {
 public:
  LogRatios(Context& ctx, const Counts& counts, const FactorParams& p, double kappa)
      : ctx_(ctx), vocab_(counts.vocab), p_(smoothed_unigram(counts)), share_(device_vector(ctx, p_)) {
    std::vector<double> scale, root;
    for (const double x : p_) {
      scale.push_back(1 / (kappa * x));
      root.push_back(std::sqrt(x));
    }
    root_ = device_vector(ctx, root);
    ones_ = matrix_from(ctx.device(), host_vector(vocab_, 1), vocab_, 1);
    const Buffer<double> column_scale = device_vector(ctx, scale);
    for (std::int32_t l = 0; l < p.lags; ++l) {
      Lag lag;
      lag.n = ctx.linear().log1p_scaled(at(counts.lags, l).view(), column_scale.data());
      lag.nt = ctx.linear().transpose(lag.n.view());
      lag.mean = Matrix(ctx.device(), vocab_, 1);
      ctx.linear().spmm(lag.n.view(), ConstMatrixView(share_.data(), vocab_, 1), lag.mean.view());
      lags_.push_back(std::move(lag));
    }
  }

  [[nodiscard]] const std::vector<double>& p() const { return p_; }
  [[nodiscard]] const Buffer<double>& share() const { return share_; }
  [[nodiscard]] const Matrix& ones() const { return ones_; }

  /// y = M_l x, or its transpose; x, y [vocab, k].
  void apply(std::int32_t l, Op op, ConstMatrixView x, MatrixView y) const {
    const Lag& lag = at(lags_, l);
    LinearOps& linear = ctx_.linear();
    Matrix row(ctx_.device(), 1, x.cols);
    const Matrix &from = op == Op::none ? ones_ : lag.mean, &to = op == Op::none ? lag.mean : ones_;
    linear.spmm(op == Op::none ? lag.n.view() : lag.nt.view(), x, y);
    linear.gemm(1, Op::transpose, from.cview(), Op::none, x, 0, row.view());
    linear.gemm(-1, Op::none, to.cview(), Op::none, row.cview(), 1, y);
  }

  /// Largest k eigenpairs of Σ w_l² X_l X_lᵀ (op none: of rows) or Σ w_l² X_lᵀ X_l, X_l = diag(√p) M_l
  /// diag(√p).
  [[nodiscard]] EigenPairs basis(Op op, std::int64_t k, std::uint64_t seed) const {
    const auto product = [&](ConstMatrixView in, MatrixView out) {
      Matrix x = copy_of(ctx_.device(), in), y(ctx_.device(), vocab_, in.cols),
             z(ctx_.device(), vocab_, in.cols);
      ctx_.linear().scale(x.view(), root_.data(), nullptr);
      zero(ctx_.device(), out);
      for (std::int32_t l = 0; l < static_cast<std::int32_t>(lags_.size()); ++l) {
        const double w = mix_of(l);
        apply(l, op == Op::none ? Op::transpose : Op::none, x.cview(), y.view());
        ctx_.linear().scale(y.view(), share_.data(), nullptr);
        apply(l, op, y.cview(), z.view());
        ctx_.linear().add_scaled(w * w, z.cview(), out);
      }
      ctx_.linear().scale(out, root_.data(), nullptr);
    };
    return largest_eigenpairs(ctx_, vocab_, product, k, kTuckerPower, seed, "factors");
  }

 private:
  struct Lag {
    RealCsr n, nt;  // N and its transpose
    Matrix mean;    // N p, [vocab, 1]
  };
  Context& ctx_;
  std::int64_t vocab_;
  std::vector<double> p_;
  Buffer<double> share_, root_;
  Matrix ones_;
  std::vector<Lag> lags_;
};

/// [k][n] eigenvectors to rows [n, k], each multiplied by 1/√p_i and, where asked, √value.
std::vector<double> rows_of(Context& ctx, const EigenPairs& pairs, const std::vector<double>& p,
                            bool by_value) {
  const std::int64_t n = pairs.vectors.cols, k = pairs.vectors.rows;
  std::vector<double> out = host_matrix(n, k);
  for (std::int64_t c = 0; c < k; ++c) {
    const std::vector<double> vector = to_host(ctx.device(), pairs.vectors.view().row_block(c, 1));
    const double scale = by_value ? std::sqrt(std::max(0.0, at(pairs.values, c))) : 1.0;
    for (std::int64_t i = 0; i < n; ++i) HostView(out, k)(i, c) = scale * at(vector, i) / std::sqrt(at(p, i));
  }
  return out;
}

void make_unit(HostView<double> rows) {
  for (std::int64_t i = 0; i < rows.rows(); ++i) {
    double* const row = rows.row(i);
    const double scale = 1 / std::max(std::sqrt(squared_norm(row, rows.cols())), 1e-9);
    for (std::int64_t c = 0; c < rows.cols(); ++c) row[c] *= scale;
  }
}

/// S, U and cores before the lag weights.
struct Bases {
  std::vector<double> source, target;  ///< [vocab, d_s], [vocab, d_o]
  std::vector<std::vector<double>> cores;
  std::vector<double> p;
};

Bases bases_of(Context& ctx, const Counts& counts, const FactorParams& p, double kappa) {
  LinearOps& linear = ctx.linear();
  const LogRatios ratios(ctx, counts, p, kappa);
  const std::int64_t vocab = counts.vocab;
  Bases out;
  out.p = ratios.p();
  out.source = rows_of(ctx, ratios.basis(Op::none, p.d_s, p.seed), out.p, true);
  make_unit({out.source, p.d_s});
  out.target = rows_of(ctx, ratios.basis(Op::transpose, p.d_o, p.seed + 1), out.p, false);

  // G_n = (SᵀDS)^-1 SᵀD M_n D U, D = diag(p).
  const Matrix source = matrix_from(ctx.device(), out.source, vocab, p.d_s);
  Matrix weighted = copy_of(source), gram(ctx.device(), p.d_s, p.d_s);
  linear.scale(weighted.view(), ratios.share().data(), nullptr);
  linear.gemm(1, Op::transpose, source.cview(), Op::none, weighted.cview(), 0, gram.view());
  const double ridge = kGramRidge * mean_diagonal(gram);
  const Matrix inverse = symmetric_function(ctx, gram.cview(), 0, [&](double x) { return 1 / (x + ridge); });
  Matrix target = matrix_from(ctx.device(), out.target, vocab, p.d_o);
  linear.scale(target.view(), ratios.share().data(), nullptr);
  Matrix product(ctx.device(), vocab, p.d_o), small(ctx.device(), p.d_s, p.d_o),
      core(ctx.device(), p.d_s, p.d_o);
  for (std::int32_t l = 0; l < p.lags; ++l) {
    ratios.apply(l, Op::none, target.cview(), product.view());
    linear.gemm(1, Op::transpose, weighted.cview(), Op::none, product.cview(), 0, small.view());
    linear.gemm(1, Op::none, inverse.cview(), Op::none, small.cview(), 0, core.view());
    out.cores.push_back(to_host(core));
  }
  return out;
}

std::vector<double> default_weights(std::int32_t lags) {
  std::vector<double> out = host_vector(lags, 0.2);
  for (std::int32_t l = 0; l < std::min(lags, static_cast<std::int32_t>(kStart.size())); ++l)
    at(out, l) = at(kStart, l);
  return out;
}

/// features [count][lags][vocab]: S[context] G Uᵀ per lag.
Evidence evidence_of(Context& ctx, const Bases& b, const HoldoutPositions& slice, const FactorParams& p) {
  return [&ctx, &b, &slice, &p](std::int64_t first, std::int64_t count, std::vector<double>& features) {
    const auto vocab = static_cast<std::int64_t>(b.p.size());
    const Matrix target = matrix_from(ctx.device(), b.target, vocab, p.d_o);
    const HostView context(slice.context, p.lags);
    Matrix written(ctx.device(), count, p.lags * p.d_o);
    for (std::int32_t l = 0; l < p.lags; ++l) {
      std::vector<double> x = host_matrix(count, p.d_s);
      for (std::int64_t k = 0; k < count; ++k)
        std::copy_n(HostView(b.source, p.d_s).row(context(first + k, l)), p.d_s, HostView(x, p.d_s).row(k));
      const Matrix contexts = matrix_from(ctx.device(), x, count, p.d_s);
      const Matrix core = matrix_from(ctx.device(), at(b.cores, l), p.d_s, p.d_o);
      ctx.linear().gemm(1, Op::none, contexts.cview(), Op::none, core.cview(), 0,
                        written.view().block(0, l * p.d_o, count, p.d_o));
    }
    const ConstMatrixView all(written.data.data(), count * p.lags, p.d_o);  // a lag of a position a row
    Matrix out(ctx.device(), count * p.lags, vocab);
    ctx.linear().gemm(1, Op::none, all, Op::transpose, target.cview(), 0, out.view());
    download(out, features);
  };
}

/// Rotates to the principal axes of what is written and shares each axis's scale evenly between the two
/// factors: halves the norm of U's rows and leaves every product S G Uᵀ as it is.
void balance(Context& ctx, const Counts& counts, LagFactors& f, const std::vector<double>& p) {
  LinearOps& linear = ctx.linear();
  const Matrix source = matrix_from(ctx.device(), f.source, f.vocab, f.d_s);
  const Buffer<double> share = device_vector(ctx, p);
  const Matrix moments = context_moments(ctx, counts, source, share, f.lags);
  const Matrix cores = matrix_from(ctx.device(), f.cores, f.lags * f.d_s, f.d_o);
  Matrix product(ctx.device(), f.lags * f.d_s, f.d_o), written(ctx.device(), f.d_o, f.d_o),
      axes(ctx.device(), f.d_o, f.d_o);
  linear.gemm(1, Op::none, moments.cview(), Op::none, cores.cview(), 0, product.view());
  linear.gemm(1, Op::transpose, cores.cview(), Op::none, product.cview(), 0, written.view());
  Buffer<double> values = numbers_on(ctx.device(), f.d_o);
  linear.eigh(written.cview(), values.data(), axes.view());
  const std::vector<double> energy = to_host(values);

  Matrix target = matrix_from(ctx.device(), f.target, f.vocab, f.d_o), turned(ctx.device(), f.vocab, f.d_o);
  linear.gemm(1, Op::none, target.cview(), Op::none, axes.cview(), 0, turned.view());
  const std::vector<double> u = to_host(turned);
  std::vector<double> grow, shrink;
  for (std::int64_t c = 0; c < f.d_o; ++c) {
    double mean2 = 0;
    for (std::int64_t j = 0; j < f.vocab; ++j) {
      const double x = HostView(u, f.d_o)(j, c);
      mean2 += at(p, j) * x * x;
    }
    // √(rms written / rms read)
    const double t = mean2 > 0 ? std::sqrt(std::sqrt(std::max(at(energy, c), 1e-30) / mean2)) : 1.0;
    grow.push_back(t);
    shrink.push_back(1 / t);
  }
  const Buffer<double> up = device_vector(ctx, grow), down = device_vector(ctx, shrink);
  linear.scale(turned.view(), nullptr, up.data());
  f.target = to_host(turned);
  linear.gemm(1, Op::none, cores.cview(), Op::none, axes.cview(), 0, product.view());
  linear.scale(product.view(), nullptr, down.data());
  f.cores = to_host(product);
}

}  // namespace

Scalars choose_tucker(Context& ctx, const Counts& without, const HoldoutPositions& slice,
                      const FactorParams& p) {
  Scalars best{1, p.kappa.value_or(kTuckerKappa), 0, default_weights(p.lags), 0};
  if (slice.size() == 0) return best;
  best.loss = -1;
  for (const double kappa :
       p.kappa ? std::vector{*p.kappa} : std::vector(kTuckerKappas.begin(), kTuckerKappas.end())) {
    ctx.check_interrupt();
    const Bases b = bases_of(ctx, without, p, kappa);
    std::vector<double> log_p;
    for (const double x : b.p) log_p.push_back(std::log(x));
    const WeightFit fit = fit_weights(log_p, slice.next, evidence_of(ctx, b, slice, p), best.lag_weights);
    if (best.loss >= 0 && fit.loss >= best.loss) continue;
    best.kappa = kappa;
    best.lag_weights = fit.weights;
    best.loss = fit.loss;
  }
  return best;
}

LagFactors fit_tucker(Context& ctx, const Counts& counts, const FactorParams& p, const Scalars& scalars) {
  Bases b = bases_of(ctx, counts, p, scalars.kappa);
  LagFactors out;
  out.vocab = counts.vocab;
  out.d_s = p.d_s;
  out.d_o = p.d_o;
  out.lags = p.lags;
  out.source = std::move(b.source);
  out.target = std::move(b.target);
  for (std::size_t l = 0; l < b.cores.size(); ++l)
    for (const double x : b.cores[l]) out.cores.push_back(scalars.lag_weights[l] * x);
  for (const double x : b.p) out.bias.push_back(std::log(x));
  out.alpha = 1;
  balance(ctx, counts, out, b.p);
  return out;
}

}  // namespace aloft::offset
