#include "pipeline/offset/discriminant_basis.hpp"

#include <algorithm>
#include <cmath>
#include <span>

#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/base/krylov_subspace.hpp"

namespace aloft::offset {
namespace {

constexpr double kWhitenRidge = 1e-4;  // of the mean eigenvalue
// Products XXᵀ a step; one does where the space is wide (docs/science.md, 5.4).
constexpr int power_for(std::int64_t d) { return d < 256 ? 2 : 1; }

/// x·xᵀ of a sparse x and its transpose.
template <class T>
auto square(Context& ctx, const Csr<T>& x, const Csr<T>& xt) {
  return [&ctx, &x, &xt](MatrixViewOf<const T> in, MatrixViewOf<T> out) {
    MatrixOf<T> middle(ctx.device(), xt.rows, in.cols);
    ctx.linear().spmm(xt.view(), in, middle.view());
    ctx.linear().spmm(x.view(), middle.cview(), out);
  };
}

/// Left singular vectors and squared singular values of the positive PMI of J_1.
Subspace left_vectors(Context& ctx, const Counts& counts, std::int64_t d, std::uint64_t seed) {
  RealCsr x = ctx.linear().positive_pmi(counts.lags[0].view()), xt = ctx.linear().transpose(x.view());
  if (soon_dense(counts.vocab, d))
    return subspace_of(ctx,
                       largest_eigenpairs(ctx, counts.vocab, square(ctx, x, xt), d, 1, seed, kFactors.name));
  FloatCsr rough = ctx.linear().round(x.view()), rough_t = ctx.linear().round(xt.view());
  x = {};
  xt = {};
  return leading_subspace(ctx, counts.vocab, square(ctx, rough, rough_t), d, power_for(d), seed,
                          kFactors.name);
}

/// S: left singular vectors × √σ of the positive PMI of J_1, centred under p, rows of unit length.
Matrix source_rows(Context& ctx, const Counts& counts, const Buffer<double>& share, std::int64_t d,
                   std::uint64_t seed) {
  LinearOps& linear = ctx.linear();
  auto [squares, out] = left_vectors(ctx, counts, d, seed);
  std::vector<double> roots;
  for (const double square : squares) roots.push_back(std::sqrt(std::sqrt(std::max(0.0, square))));
  const Buffer<double> root = device_vector(ctx, roots);
  linear.scale(out.view(), nullptr, root.data());
  const Matrix ones = matrix_from(ctx.device(), host_vector(counts.vocab, 1), counts.vocab, 1);
  Matrix mean(ctx.device(), 1, d);
  linear.gemm(1, Op::transpose, ConstMatrixView(share.data(), counts.vocab, 1), Op::none, out.cview(), 0,
              mean.view());
  linear.gemm(-1, Op::none, ones.cview(), Op::none, mean.cview(), 1, out.view());
  make_unit(ctx, out, 1e-6);
  return std::move(out);
}

}  // namespace

DiscriminantBasis::DiscriminantBasis(Context& ctx, const Counts& counts, const FactorParams& p)
    : ctx_(ctx), lags_(p.lags) {
  set_unigram(counts.unigram);
  source_ = source_rows(ctx, counts, share_, p.d_s, p.seed);
  sums_ = Matrix(ctx.device(), vocab(), width());
  {
    ContextMoments moments(ctx, counts, source_, share_, lags_);
    for (std::int32_t a = 0; a < lags_; ++a) {
      const MatrixView sums = sums_.view().block(0, a * p.d_s, vocab(), p.d_s);
      class_sums(ctx, counts, source_, a, sums);
      moments.add(a, sums);
    }
    moments_ = moments.all();
  }
  trace_mean_ = mean_diagonal(moments_);
  axes_ = Matrix(ctx.device(), width(), width());
  Buffer<double> values = numbers_on(ctx.device(), width());
  ctx.linear().eigh(moments_.cview(), values.data(), axes_.view());
  lambda_ = to_host(values);
}

void DiscriminantBasis::set_unigram(std::vector<std::uint64_t> unigram) {
  unigram_ = std::move(unigram);
  p_ = smoothed_unigram(unigram_);
  share_ = device_vector(ctx_, p_);
}

void DiscriminantBasis::add(const Counts& slice) {
  Matrix more(ctx_.device(), vocab(), source_.cols);
  for (std::int32_t a = 0; a < lags_; ++a) {
    class_sums(ctx_, slice, source_, a, more.view());
    ctx_.linear().add_scaled(1, more.cview(), sums_.view().block(0, a * source_.cols, vocab(), source_.cols));
  }
  std::vector<std::uint64_t> all = unigram_;
  for (std::size_t i = 0; i < all.size(); ++i) all[i] += slice.unigram[i];
  set_unigram(std::move(all));
}

std::vector<double> DiscriminantBasis::inverse(double ridge) const {
  std::vector<double> out;
  for (const double x : lambda_)  // all zero where no pair says anything: then so are the sums
    out.push_back(1 / std::max(std::max(x, 0.0) + ridge * trace_mean_, 1e-300));
  return out;
}

std::vector<double> DiscriminantBasis::shrinkage(double kappa) const {
  std::vector<double> out;
  for (const std::uint64_t c : unigram_) out.push_back(1 / (static_cast<double>(c) + 0.5 + kappa));
  return out;
}

std::vector<double> DiscriminantBasis::evidence(double ridge, const std::vector<TokenId>& tokens) const {
  const auto n = static_cast<std::int64_t>(tokens.size());
  std::vector<std::int32_t> rows;
  for (const TokenId id : tokens) rows.push_back(signed_index(id, false));
  const Buffer<std::int32_t> from = to_device(ctx_.device(), std::span(rows));
  const Buffer<double> weights = device_vector(ctx_, inverse(ridge));
  Matrix sums(ctx_.device(), longest_stripe(n), width()), turned(ctx_.device(), longest_stripe(n), width());
  Buffer<double> norms = numbers_on(ctx_.device(), n);
  for_each_stripe(n, [&](std::int64_t first, std::int64_t count) {
    const MatrixView x = sums.view().row_block(0, count), y = turned.view().row_block(0, count);
    ctx_.linear().permute(sums_.cview(), from.data() + first, nullptr, x);
    ctx_.linear().gemm(1, Op::none, x, Op::none, axes_.cview(), 0, y);
    ctx_.linear().row_norms(y, weights.data(), norms.data() + first);
  });
  return to_host(norms);
}

Matrix DiscriminantBasis::source_gram_root(double power) const {
  const std::int64_t d = source_.cols;
  std::vector<double> block = to_host(copy_of(ctx_.device(), moments_.view().block(0, 0, d, d)));
  const HostView m(block, d);
  double trace = 0;
  for (std::int64_t i = 0; i < d; ++i) trace += m(i, i);
  for (std::int64_t i = 0; i < d; ++i) m(i, i) += kWhitenRidge * trace / static_cast<double>(d);
  const Matrix gram = matrix_from(ctx_.device(), block, d, d);
  return symmetric_function(ctx_, gram.cview(), 1e-300, [&](double x) { return std::pow(x, power); });
}

Footprint discriminant_basis_held(const CountsShape& counts, const FactorParams& p) {
  const std::int64_t v = counts.vocab, n = p.lags * p.d_s;
  return on_device(matrix_bytes(v, p.d_s + n + 1) + 2 * matrix_bytes(n, n)) +
         on_host(matrix_bytes(v, 2) + matrix_bytes(n, 1));
}

Peak discriminant_basis_add_memory(const LinearOps& ops, const CountsShape& slice, const FactorParams& p) {
  const std::int64_t v = slice.vocab;
  Peak out;
  out.reach(on_device(matrix_bytes(v, p.d_s)), class_sums_memory(ops, slice, p.d_s));
  out.reach(on_device(matrix_bytes(v, 1)) + on_host(matrix_bytes(v, 2)));
  return out;
}

Footprint discriminant_evidence_memory(const CountsShape& counts, const FactorParams& p) {
  const std::int64_t v = counts.vocab, n = p.lags * p.d_s;
  return on_device(matrix_bytes(longest_stripe(v), 2 * n) + matrix_bytes(v, 2)) + on_host(matrix_bytes(v, 3));
}

Peak discriminant_basis_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p) {
  const std::int64_t v = counts.vocab, d = p.d_s, n = p.lags * d, first = counts.entries.front();
  const auto real = [](std::int64_t rows, std::int64_t cols) { return on_device(matrix_bytes(rows, cols)); };
  const auto host = [](std::int64_t rows, std::int64_t cols) { return on_host(matrix_bytes(rows, cols)); };
  const Footprint ppmi = on_device(csr_bytes(v, first)), rough = on_device(float_csr_bytes(v, first)),
                  vectors = real(v, 1) + host(v, 2), source = real(v, d), sums = real(v, n);
  Peak out;
  out.reach(vectors + ppmi + ppmi + ops.sparse_scratch(v, first));
  if (soon_dense(v, d)) {
    out.reach(vectors + ppmi + ppmi, krylov_memory(ops, v, d, [&](std::int64_t columns) {
                return real(v, columns) + ops.spmm_scratch(v, v, first, columns);
              }));
  } else {
    out.reach(vectors + ppmi + ppmi + rough + rough);
    out.reach(vectors + rough + rough, leading_subspace_memory(ops, v, d, [&](std::int64_t columns) {
                return on_device(float_matrix_bytes(v, columns)) + ops.spmm_scratch(v, v, first, columns);
              }));
  }
  out.reach(vectors + source + source);
  out.reach(vectors + source + real(v, 2) + host(v, 2));
  out.reach(vectors + source + sums + source + real(d, d) + host(n, n));
  out.reach(vectors + source + sums + host(n, n), class_sums_memory(ops, counts, d));
  out.reach(vectors + source + sums + real(n, n) + real(n, n) + ops.eigh_scratch(n, 1));
  return out;
}

}  // namespace aloft::offset
