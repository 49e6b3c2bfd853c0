#include <array>
#include <cmath>

#include "host/error.hpp"
#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/base/krylov_eigen.hpp"
#include "pipeline/offset/estimators.hpp"
#include "pipeline/offset/weight_fit.hpp"

// The linear discriminant of the next token on the embeddings of the last `lags` tokens (multichannel
// Yule-Walker: their covariance is block Toeplitz), reduced in rank. x: the embeddings one after the other [D
// = lags·d_s]; μ_j = E[x | next = j] c_j/(c_j + κ); W = (C + λ tr(C)/D I)^-1 μ; logits α Wᵀx + log p − α/2
// diag(μᵀW).

namespace aloft::offset {
namespace {

constexpr double kAlpha = 0.5, kKappa = 30, kRidge = 1;  // trained best on the sample corpus
constexpr std::array kKappas{10.0, 30.0, 100.0};         // what a held-out slice may choose from
constexpr std::array kRidges{0.3, 1.0, 3.0, 10.0};
constexpr double kWhitenRidge = 1e-4;  // of the mean eigenvalue
constexpr int kPower = 3;              // of the product XXᵀ: as x^6 of the matrix itself

/// Left singular vectors and squared singular values of the positive PMI of J_1.
EigenPairs left_pairs(Context& ctx, const Counts& counts, std::int64_t d, std::uint64_t seed) {
  const RealCsr x = ctx.linear().positive_pmi(counts.lags[0].view());
  const RealCsr xt = ctx.linear().transpose(x.view());
  const auto product = [&](ConstMatrixView in, MatrixView out) {
    Matrix middle(ctx.device(), counts.vocab, in.cols);
    ctx.linear().spmm(xt.view(), in, middle.view());
    ctx.linear().spmm(x.view(), middle.cview(), out);
  };
  return largest_eigenpairs(ctx, counts.vocab, product, d, kPower, seed, "factors");
}

/// S: left singular vectors × √σ of the positive PMI of J_1, centred under p, rows of unit length.
Matrix source_rows(Context& ctx, const Counts& counts, const std::vector<double>& p, std::int64_t d,
                   std::uint64_t seed) {
  const std::int64_t vocab = counts.vocab;
  EigenPairs pairs = left_pairs(ctx, counts, d, seed);
  std::vector<double> rows = host_matrix(vocab, d), mean = host_vector(d);
  const HostView s(rows, d);
  for (std::int64_t c = 0; c < d; ++c) {
    const std::vector<double> vector = to_host(ctx.device(), pairs.vectors.view().row_block(c, 1));
    const double scale = std::sqrt(std::sqrt(std::max(0.0, at(pairs.values, c))));
    for (std::int64_t i = 0; i < vocab; ++i) {
      s(i, c) = scale * at(vector, i);
      at(mean, c) += at(p, i) * s(i, c);
    }
  }
  pairs.vectors = {};
  for (std::int64_t i = 0; i < vocab; ++i) {
    double* row = s.row(i);
    double norm2 = 0;
    for (std::int64_t c = 0; c < d; ++c) {
      row[c] -= at(mean, c);
      norm2 += row[c] * row[c];
    }
    const double scale = 1 / std::max(std::sqrt(norm2), 1e-6);
    for (std::int64_t c = 0; c < d; ++c) row[c] *= scale;
  }
  return matrix_from(ctx.device(), rows, vocab, d);
}

/// What does not depend on κ, λ and α.
class Discriminant {
 public:
  Discriminant(Context& ctx, const Counts& counts, const FactorParams& p)
      : ctx_(ctx),
        counts_(counts),
        lags_(p.lags),
        p_(smoothed_unigram(counts)),
        share_(device_vector(ctx, p_)),
        source_(source_rows(ctx, counts, p_, p.d_s, p.seed)),
        moments_(context_moments(ctx, counts, source_, share_, lags_)),
        vectors_(ctx.device(), width(), width()) {
    Buffer<double> values = numbers_on(ctx.device(), width());
    ctx.linear().eigh(moments_.cview(), values.data(), vectors_.view());
    lambda_ = to_host(values);
    trace_mean_ = mean_diagonal(moments_);
  }

  [[nodiscard]] std::int64_t width() const { return lags_ * source_.cols; }
  [[nodiscard]] const Matrix& source() const { return source_; }
  [[nodiscard]] const std::vector<double>& p() const { return p_; }
  [[nodiscard]] const Buffer<double>& share() const { return share_; }

  /// μ [vocab, D]: row j is μ_j.
  [[nodiscard]] Matrix class_means(double kappa) const {
    const std::int64_t d = source_.cols;
    std::vector<double> shrunk;  // 1/c · c/(c + κ)
    for (const std::uint64_t c : counts_.unigram)
      shrunk.push_back(1 / (static_cast<double>(c) + 0.5 + kappa));
    const Buffer<double> scale = device_vector(ctx_, shrunk);
    Matrix out(ctx_.device(), source_.rows, width());
    for (std::int32_t a = 0; a < lags_; ++a) {
      const RealCsr before =
          ctx_.linear().to_real(ctx_.linear().transpose(at(counts_.lags, a).view()).view(), nullptr);
      const MatrixView part = out.view().block(0, a * d, source_.rows, d);
      ctx_.linear().spmm(before.view(), source_.cview(), part);
      ctx_.linear().scale(part, scale.data(), nullptr);
    }
    return out;
  }

  /// Wᵀ [vocab, D] for given means.
  [[nodiscard]] Matrix discriminants(const Matrix& means, double ridge) const {
    std::vector<double> inverse;
    for (const double x : lambda_)  // all zero where no pair says anything: then so are the means
      inverse.push_back(1 / std::max(std::max(x, 0.0) + ridge * trace_mean_, 1e-300));
    const Buffer<double> scale = device_vector(ctx_, inverse);
    Matrix out(ctx_.device(), means.rows, width()),
        rotated(ctx_.device(), longest_stripe(means.rows), width());
    for_each_stripe(means.rows, [&](std::int64_t first, std::int64_t count) {
      const MatrixView turned = rotated.view().row_block(0, count);
      ctx_.linear().gemm(1, Op::none, means.view().row_block(first, count), Op::none, vectors_.cview(), 0,
                         turned);
      ctx_.linear().scale(turned, nullptr, scale.data());
      ctx_.linear().gemm(1, Op::none, turned, Op::transpose, vectors_.cview(), 0,
                         out.view().row_block(first, count));
    });
    return out;
  }

  /// diag(μᵀ W), [vocab].
  [[nodiscard]] std::vector<double> own_evidence(const Matrix& means, const Matrix& w) const {
    std::vector<double> out = host_vector(means.rows);
    for_each_stripe(means.rows, [&](std::int64_t first, std::int64_t count) {
      const std::vector<double> a = to_host(ctx_.device(), means.view().row_block(first, count)),
                                b = to_host(ctx_.device(), w.view().row_block(first, count));
      const HostView x(a, means.cols), y(b, means.cols);
      for (std::int64_t j = 0; j < count; ++j)
        for (std::int64_t i = 0; i < means.cols; ++i) at(out, first + j) += x(j, i) * y(j, i);
    });
    return out;
  }

  /// (Sᵀ D S + ridge)^power, for ±1/2.
  [[nodiscard]] Matrix source_gram_root(double power) const {
    const std::int64_t d = source_.cols;
    std::vector<double> block = to_host(copy_of(ctx_.device(), moments_.view().block(0, 0, d, d)));
    const HostView m(block, d);
    double trace = 0;
    for (std::int64_t i = 0; i < d; ++i) trace += m(i, i);
    for (std::int64_t i = 0; i < d; ++i) m(i, i) += kWhitenRidge * trace / static_cast<double>(d);
    const Matrix gram = matrix_from(ctx_.device(), block, d, d);
    return symmetric_function(ctx_, gram.cview(), 1e-300, [&](double x) { return std::pow(x, power); });
  }

  /// diag(block, ..., block) [D, D].
  [[nodiscard]] Matrix for_every_lag(const Matrix& block) const {
    const std::int64_t d = block.rows;
    Matrix out(ctx_.device(), width(), width());
    zero(ctx_.device(), out.view());
    for (std::int32_t a = 0; a < lags_; ++a)
      copy(ctx_.device(), block.view(), out.view().block(a * d, a * d, d, d));
    return out;
  }

 private:
  Context& ctx_;
  const Counts& counts_;
  std::int32_t lags_;
  std::vector<double> p_;
  Buffer<double> share_;
  Matrix source_, moments_, vectors_;
  std::vector<double> lambda_;
  double trace_mean_ = 0;
};

std::vector<double> logarithms(const std::vector<double>& p) {
  std::vector<double> out;
  out.reserve(p.size());
  for (const double x : p) out.push_back(std::log(x));
  return out;
}

}  // namespace

Scalars choose_discriminant(Context& ctx, const Counts& without, const HoldoutPositions& slice,
                            const FactorParams& p) {
  Scalars best{p.alpha.value_or(kAlpha), p.kappa.value_or(kKappa), p.ridge.value_or(kRidge),
               host_vector(p.lags, 1), 0};
  if (slice.size() == 0) return best;
  const Discriminant d(ctx, without, p);
  const std::vector<double> log_p = logarithms(d.p()), source = to_host(d.source());
  const std::int64_t vocab = without.vocab, width = d.width(), d_s = p.d_s;
  const HostView context(slice.context, p.lags);
  best.loss = -1;
  for (const double kappa : p.kappa ? std::vector{*p.kappa} : std::vector(kKappas.begin(), kKappas.end())) {
    const Matrix means = d.class_means(kappa);
    for (const double ridge : p.ridge ? std::vector{*p.ridge} : std::vector(kRidges.begin(), kRidges.end())) {
      ctx.check_interrupt();
      const Matrix w = d.discriminants(means, ridge);
      const std::vector<double> own = d.own_evidence(means, w);
      const Evidence evidence = [&](std::int64_t first, std::int64_t count, std::vector<double>& features) {
        std::vector<double> x = host_matrix(count, width);
        for (std::int64_t k = 0; k < count; ++k)
          for (std::int32_t a = 0; a < p.lags; ++a)
            std::copy_n(HostView(source, d_s).row(context(first + k, a)), d_s,
                        HostView(x, width).row(k) + a * d_s);
        const Matrix contexts = matrix_from(ctx.device(), x, count, width);
        Matrix out(ctx.device(), count, vocab);
        ctx.linear().gemm(1, Op::none, contexts.cview(), Op::transpose, w.cview(), 0, out.view());
        download(out, features);
        for (std::size_t i = 0; i < features.size(); ++i) features[i] -= own[i % own.size()] / 2;
      };
      const WeightFit fit = p.alpha ? WeightFit{{*p.alpha}, loss_at(log_p, slice.next, evidence, {*p.alpha})}
                                    : fit_weights(log_p, slice.next, evidence, {best.alpha});
      if (best.loss >= 0 && fit.loss >= best.loss) continue;
      best.alpha = fit.weights[0];
      best.kappa = kappa;
      best.ridge = ridge;
      best.loss = fit.loss;
    }
  }
  return best;
}

LagFactors fit_discriminant(Context& ctx, const Counts& counts, const FactorParams& p,
                            const Scalars& scalars) {
  LinearOps& linear = ctx.linear();
  const Discriminant d(ctx, counts, p);
  const std::int64_t vocab = counts.vocab, width = d.width();
  Matrix means = d.class_means(scalars.kappa);
  Matrix w = d.discriminants(means, scalars.ridge);
  LagFactors out;
  out.bias = logarithms(d.p());
  const std::vector<double> own = d.own_evidence(means, w);
  means = {};
  for (std::size_t j = 0; j < own.size(); ++j) out.bias[j] -= scalars.alpha / 2 * own[j];

  // Softmax ignores what all classes share: W minus its mean under p.
  const Matrix ones = matrix_from(ctx.device(), host_vector(vocab, 1), vocab, 1);
  Matrix mean(ctx.device(), 1, width);
  linear.gemm(1, Op::transpose, ConstMatrixView(d.share().data(), vocab, 1), Op::none, w.cview(), 0,
              mean.view());
  linear.gemm(-1, Op::none, ones.cview(), Op::none, mean.cview(), 1, w.view());

  // Rank reduction where errors count: inputs whitened lag by lag, classes weighted by √p. B = diag(√p) Wᵀ
  // C^½.
  std::vector<double> root_p;
  for (const double x : d.p()) root_p.push_back(std::sqrt(x));
  const Buffer<double> root = device_vector(ctx, root_p);
  const Matrix whiten = d.for_every_lag(d.source_gram_root(0.5)),
               unwhiten = d.for_every_lag(d.source_gram_root(-0.5));
  Matrix gram(ctx.device(), width, width), vectors(ctx.device(), width, width);
  Matrix& b = w;  // in place: it is as large as everything else together
  multiply_in_place(ctx, b.view(), whiten.cview());
  linear.scale(b.view(), root.data(), nullptr);
  linear.gemm(1, Op::transpose, b.cview(), Op::none, b.cview(), 0, gram.view());
  Buffer<double> values = numbers_on(ctx.device(), width);
  linear.eigh(gram.cview(), values.data(), vectors.view());

  // The d_o largest: G = C^-½ A √s and U = α diag(1/√p) B A / √s, s = √eigenvalue.
  const std::vector<double> lambda = to_host(values), v = to_host(vectors);
  std::vector<double> left = host_matrix(width, p.d_o), right = left;
  for (std::int64_t c = 0; c < std::min(p.d_o, width); ++c) {
    const std::int64_t from = width - 1 - c;
    const double s = std::sqrt(std::max(at(lambda, from), 0.0));
    if (s <= 1e-9 * std::sqrt(std::max(lambda.back(), 0.0))) break;  // rounding, not evidence
    for (std::int64_t i = 0; i < width; ++i) {
      const double x = HostView(v, width)(i, from);
      HostView(left, p.d_o)(i, c) = x * std::sqrt(s);
      HostView(right, p.d_o)(i, c) = scalars.alpha * x / std::sqrt(s);
    }
  }
  const Matrix l = matrix_from(ctx.device(), left, width, p.d_o),
               r = matrix_from(ctx.device(), right, width, p.d_o);
  Matrix cores(ctx.device(), width, p.d_o), target(ctx.device(), vocab, p.d_o);
  linear.gemm(1, Op::none, unwhiten.cview(), Op::none, l.cview(), 0, cores.view());
  linear.gemm(1, Op::none, b.cview(), Op::none, r.cview(), 0, target.view());
  for (double& x : root_p) x = 1 / x;
  const Buffer<double> inverse = device_vector(ctx, root_p);
  linear.scale(target.view(), inverse.data(), nullptr);
  out.source = to_host(d.source());
  out.target = to_host(target);
  out.cores = to_host(cores);
  out.alpha = scalars.alpha;
  out.ridge = scalars.ridge;
  return out;
}

}  // namespace aloft::offset
