#include <algorithm>
#include <cmath>

#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/offset/discriminant_basis.hpp"

// The linear discriminant of the next token on the embeddings of the last `lags` tokens (multichannel
// Yule-Walker: their covariance C is block Toeplitz), reduced in rank. x: the embeddings one after the other
// [D = lags·d_s]; μ_j = E[x | next = j] c_j/(c_j + κ); W = (C + λ tr(C)/D I)^-1 μ; logits α Wᵀx + log p − α/2
// diag(μᵀW).

namespace aloft::offset {
namespace {

/// diag(block, ..., block) [times·d, times·d].
Matrix repeated(Context& ctx, const Matrix& block, std::int32_t times) {
  const std::int64_t d = block.rows;
  Matrix out(ctx.device(), times * d, times * d);
  zero(ctx.device(), out.view());
  for (std::int32_t a = 0; a < times; ++a)
    copy(ctx.device(), block.view(), out.view().block(a * d, a * d, d, d));
  return out;
}

/// The largest eigenpairs of the evidence's Gram matrix, as columns of the two factors: √s times each, and
/// α/√s, s the singular value of the evidence. [D, d_o] each.
struct Leading {
  Matrix left, right;
};
Leading leading_directions(Context& ctx, Matrix gram, std::int64_t d_o, double alpha) {
  const std::int64_t width = gram.rows, k = std::min(d_o, width);
  Matrix top(ctx.device(), k, width);
  Buffer<double> values = numbers_on(ctx.device(), width);
  ctx.linear().eigh_top(gram.cview(), values.data(), top.view());
  gram = {};
  const std::vector<double> lambda = to_host(values), rows = to_host(top);
  std::vector<double> left = host_matrix(width, d_o), right = left;
  for (std::int64_t c = 0; c < k; ++c) {
    const double s = std::sqrt(std::max(at(lambda, width - 1 - c), 0.0));
    if (s <= 1e-9 * std::sqrt(std::max(lambda.back(), 0.0))) break;  // rounding, not evidence
    for (std::int64_t i = 0; i < width; ++i) {
      const double x = HostView(rows, width)(k - 1 - c, i);
      HostView(left, d_o)(i, c) = x * std::sqrt(s);
      HostView(right, d_o)(i, c) = alpha * x / std::sqrt(s);
    }
  }
  return {matrix_from(ctx.device(), left, width, d_o), matrix_from(ctx.device(), right, width, d_o)};
}

}  // namespace

LagFactors fit_discriminant(Context& ctx, DiscriminantBasis basis, const FactorParams& p,
                            const Scalars& scalars, const std::vector<double>& evidence) {
  LinearOps& linear = ctx.linear();
  const std::int64_t vocab = basis.vocab(), width = basis.width();
  LagFactors out;
  out.vocab = vocab;
  out.d_s = p.d_s;
  out.d_o = p.d_o;
  out.lags = p.lags;
  Matrix means = basis.take_sums();
  {
    const std::vector<double> shrunk = basis.shrinkage(scalars.kappa);
    const Buffer<double> factor = device_vector(ctx, shrunk);
    linear.scale(means.view(), factor.data(), nullptr);
    for (std::int64_t j = 0; j < vocab; ++j)  // bias: log p − α/2 μ_jᵀ(C + λ..)^-1 μ_j
      out.bias.push_back(std::log(at(basis.p(), j)) -
                         scalars.alpha / 2 * at(shrunk, j) * at(shrunk, j) * at(evidence, j));
  }
  Matrix inverse(ctx.device(), width, width);  // (C + λ..)^-1
  {
    const Buffer<double> weights = device_vector(ctx, basis.inverse(scalars.ridge));
    Matrix scaled = copy_of(basis.axes());
    linear.scale(scaled.view(), nullptr, weights.data());
    linear.gemm(1, Op::none, scaled.cview(), Op::transpose, basis.axes().cview(), 0, inverse.view());
  }

  // Softmax ignores what all classes share: μ minus its mean under p.
  {
    const Matrix ones = matrix_from(ctx.device(), host_vector(vocab, 1), vocab, 1);
    Matrix mean(ctx.device(), 1, width);
    linear.gemm(1, Op::transpose, ConstMatrixView(basis.share().data(), vocab, 1), Op::none, means.cview(), 0,
                mean.view());
    linear.gemm(-1, Op::none, ones.cview(), Op::none, mean.cview(), 1, means.view());
  }

  // Rank reduction where errors count: inputs whitened lag by lag, classes weighted by √p. B = diag(√p) Wᵀ
  // C^½ = diag(√p) μ K with K = (C + λ..)^-1 C^½, so that only BᵀB = Kᵀ (μᵀ D μ) K is ever formed.
  std::vector<double> root_p;
  for (const double x : basis.p()) root_p.push_back(std::sqrt(x));
  const Buffer<double> root = device_vector(ctx, root_p);
  linear.scale(means.view(), root.data(), nullptr);
  Matrix k(ctx.device(), width, width);
  {
    const Matrix whiten = repeated(ctx, basis.source_gram_root(0.5), p.lags);
    linear.gemm(1, Op::none, inverse.cview(), Op::none, whiten.cview(), 0, k.view());
  }
  inverse = {};
  Matrix gram(ctx.device(), width, width);
  {
    Matrix between(ctx.device(), width, width), half(ctx.device(), width, width);
    column_gram(ctx, means.cview(), between.view());
    linear.gemm(1, Op::none, between.cview(), Op::none, k.cview(), 0, half.view());
    linear.gemm(1, Op::transpose, k.cview(), Op::none, half.cview(), 0, gram.view());
  }

  // The d_o largest: G = C^-½ A √s and U = α diag(1/√p) B A / √s.
  const Leading leading = leading_directions(ctx, std::move(gram), p.d_o, scalars.alpha);
  Matrix cores(ctx.device(), width, p.d_o), turned(ctx.device(), width, p.d_o),
      target(ctx.device(), vocab, p.d_o);
  {
    const Matrix unwhiten = repeated(ctx, basis.source_gram_root(-0.5), p.lags);
    linear.gemm(1, Op::none, unwhiten.cview(), Op::none, leading.left.cview(), 0, cores.view());
  }
  linear.gemm(1, Op::none, k.cview(), Op::none, leading.right.cview(), 0, turned.view());
  linear.gemm(1, Op::none, means.cview(), Op::none, turned.cview(), 0, target.view());
  means = {};
  for (double& x : root_p) x = 1 / x;
  const Buffer<double> unroot = device_vector(ctx, root_p);
  linear.scale(target.view(), unroot.data(), nullptr);
  measure(ctx, basis.share(), basis.moments(), basis.source(), target, cores, out);
  out.source = to_host(basis.source());
  out.target = to_host(target);
  out.cores = to_host(cores);
  out.alpha = scalars.alpha;
  out.ridge = scalars.ridge;
  return out;
}

Peak fit_discriminant_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p) {
  const std::int64_t v = counts.vocab, n = p.lags * p.d_s, k = std::min(p.d_o, n);
  const auto real = [](std::int64_t rows, std::int64_t cols) { return on_device(matrix_bytes(rows, cols)); };
  const auto host = [](std::int64_t rows, std::int64_t cols) { return on_host(matrix_bytes(rows, cols)); };
  const Footprint basis = discriminant_basis_held(counts, p), square = real(n, n);
  Peak out;
  out.reach(basis + square + square + real(v, 1) + host(v, 3));
  const Footprint fitted = basis + real(v, 1) + host(v, 2) + square;
  out.reach(fitted + square + square + square);
  out.reach(fitted + square + real(k, n) + ops.eigh_top_scratch(n, 1));
  out.reach(fitted + real(k, n) + host(n, k + 2 * p.d_o) + real(n, 2 * p.d_o));
  out.reach(fitted + real(n, 4 * p.d_o) + square + real(v, p.d_o));
  const Footprint left = real(v, p.d_s + p.d_o + 4) + square + square + host(v, 4) + real(n, 3 * p.d_o + n);
  out.reach(left, measure_memory(ops, v, p));
  out.reach(left + host(v, p.d_s + p.d_o));
  return out;
}

}  // namespace aloft::offset
