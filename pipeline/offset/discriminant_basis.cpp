#include "pipeline/offset/discriminant_basis.hpp"

#include <algorithm>
#include <cmath>

#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/base/krylov_eigen.hpp"

namespace aloft::offset {
namespace {

constexpr double kWhitenRidge = 1e-4;  // of the mean eigenvalue
constexpr int kPower = 2;              // of the product XXᵀ: as x^4 of the matrix itself

/// Left singular vectors and squared singular values of the positive PMI of J_1.
EigenPairs left_pairs(Context& ctx, const Counts& counts, std::int64_t d, std::uint64_t seed) {
  const RealCsr x = ctx.linear().positive_pmi(counts.lags[0].view());
  const RealCsr xt = ctx.linear().transpose(x.view());
  const auto product = [&](ConstMatrixView in, MatrixView out) {
    Matrix middle(ctx.device(), counts.vocab, in.cols);
    ctx.linear().spmm(xt.view(), in, middle.view());
    ctx.linear().spmm(x.view(), middle.cview(), out);
  };
  return leading_eigenpairs(ctx, counts.vocab, product, d, kPower, seed, "factors");
}

/// S: left singular vectors × √σ of the positive PMI of J_1, centred under p, rows of unit length.
Matrix source_rows(Context& ctx, const Counts& counts, const Buffer<double>& share, std::int64_t d,
                   std::uint64_t seed) {
  LinearOps& linear = ctx.linear();
  EigenPairs pairs = left_pairs(ctx, counts, d, seed);
  Matrix out = transposed(ctx, pairs.vectors.view());
  pairs.vectors = {};
  std::vector<double> roots;
  for (const double square : pairs.values) roots.push_back(std::sqrt(std::sqrt(std::max(0.0, square))));
  const Buffer<double> root = device_vector(ctx, roots);
  linear.scale(out.view(), nullptr, root.data());
  const Matrix ones = matrix_from(ctx.device(), host_vector(counts.vocab, 1), counts.vocab, 1);
  Matrix mean(ctx.device(), 1, d);
  linear.gemm(1, Op::transpose, ConstMatrixView(share.data(), counts.vocab, 1), Op::none, out.cview(), 0,
              mean.view());
  linear.gemm(-1, Op::none, ones.cview(), Op::none, mean.cview(), 1, out.view());
  make_unit(ctx, out, 1e-6);
  return out;
}

}  // namespace

DiscriminantBasis::DiscriminantBasis(Context& ctx, const Counts& counts, const FactorParams& p,
                                     const std::function<MatrixView(std::int32_t a)>& place,
                                     const std::function<void(std::int32_t a)>& placed)
    : ctx_(ctx),
      counts_(counts),
      lags_(p.lags),
      p_(smoothed_unigram(counts)),
      share_(device_vector(ctx, p_)),
      source_(source_rows(ctx, counts, share_, p.d_s, p.seed)) {
  {
    ContextMoments moments(ctx, counts, source_, share_, lags_);
    for (std::int32_t a = 0; a < lags_; ++a) {
      const MatrixView sums = place(a);
      class_sums(ctx, counts, source_, a, sums);
      moments.add(a, sums);
      placed(a);
    }
    moments_ = moments.all();
  }
  trace_mean_ = mean_diagonal(moments_);
  axes_ = Matrix(ctx.device(), width(), width());
  Buffer<double> values = numbers_on(ctx.device(), width());
  ctx.linear().eigh(moments_.cview(), values.data(), axes_.view());
  lambda_ = to_host(values);
}

std::vector<double> DiscriminantBasis::inverse(double ridge) const {
  std::vector<double> out;
  for (const double x : lambda_)  // all zero where no pair says anything: then so are the sums
    out.push_back(1 / std::max(std::max(x, 0.0) + ridge * trace_mean_, 1e-300));
  return out;
}

std::vector<double> DiscriminantBasis::shrinkage(double kappa) const {
  std::vector<double> out;
  for (const std::uint64_t c : counts_.unigram) out.push_back(1 / (static_cast<double>(c) + 0.5 + kappa));
  return out;
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
  return on_device(matrix_bytes(v, p.d_s + 1) + 2 * matrix_bytes(n, n)) +
         on_host(matrix_bytes(v, 1) + matrix_bytes(n, 1));
}

Peak discriminant_basis_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p) {
  const std::int64_t v = counts.vocab, d = p.d_s, n = p.lags * d, first = counts.entries.front();
  const auto real = [](std::int64_t rows, std::int64_t cols) { return on_device(matrix_bytes(rows, cols)); };
  const auto host = [](std::int64_t rows, std::int64_t cols) { return on_host(matrix_bytes(rows, cols)); };
  const Footprint ppmi = on_device(csr_bytes(v, first)), vectors = real(v, 1) + host(v, 1),
                  source = real(v, d);
  Peak out;
  out.reach(vectors + ppmi + ppmi + ops.sparse_scratch(v, first));
  out.reach(vectors + ppmi + ppmi, leading_eigenpairs_memory(ops, v, d, [&](std::int64_t columns) {
              return real(v, columns) + ops.spmm_scratch(v, v, first, columns);
            }));
  out.reach(vectors + source + source);
  out.reach(vectors + source + real(v, 2) + host(v, 2));
  out.reach(vectors + source + source + real(d, d) + host(n, n));
  out.reach(vectors + source + host(n, n), class_sums_memory(ops, counts, d));
  out.reach(vectors + source + real(n, n) + real(n, n) + ops.eigh_scratch(n, 1));
  return out;
}

}  // namespace aloft::offset
