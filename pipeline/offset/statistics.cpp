#include <cmath>
#include <span>

#include "host/error.hpp"
#include "kernels/spectral_measures.hpp"
#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/offset/estimators.hpp"

namespace aloft::offset {

std::vector<double> smoothed_unigram(const std::vector<std::uint64_t>& unigram) {
  std::vector<double> p;
  double sum = 0;
  for (const std::uint64_t n : unigram) sum += static_cast<double>(n) + 0.5;
  for (const std::uint64_t n : unigram) p.push_back((static_cast<double>(n) + 0.5) / sum);
  return p;
}

Buffer<double> device_vector(Context& ctx, const std::vector<double>& x) {
  return to_device(ctx.device(), std::span(x));
}

void make_unit(Context& ctx, Matrix& x, double floor) {
  const Buffer<double> ones = device_vector(ctx, host_vector(x.cols, 1));
  Buffer<double> squares = numbers_on(ctx.device(), x.rows);
  ctx.linear().row_norms(x.cview(), ones.data(), squares.data());
  std::vector<double> scale = to_host(squares);
  for (double& n : scale) n = 1 / std::max(std::sqrt(n), floor);
  const Buffer<double> on_device = device_vector(ctx, scale);
  ctx.linear().scale(x.view(), on_device.data(), nullptr);
}

double mean_diagonal(const Matrix& a) {
  const std::vector<double> host = to_host(a);
  double sum = 0;
  for (std::int64_t i = 0; i < a.rows; ++i) sum += HostView(host, a.cols)(i, i);
  return sum / static_cast<double>(a.rows);
}

ContextMoments::ContextMoments(Context& ctx, const Counts& counts, const Matrix& source,
                               const Buffer<double>& p, std::int32_t lags)
    : ctx_(ctx),
      counts_(counts),
      source_(source),
      lags_(lags),
      moments_(host_matrix(lags * source.cols, lags * source.cols)) {
  Matrix weighted = copy_of(source), block(ctx.device(), source.cols, source.cols);
  ctx.linear().scale(weighted.view(), p.data(), nullptr);
  ctx.linear().gemm(1, Op::transpose, source.cview(), Op::none, weighted.cview(), 0, block.view());
  place(0, block);
}

void ContextMoments::add(std::int32_t a, ConstMatrixView sums) { add(a, sums, source_.cview()); }
void ContextMoments::add_products(std::int32_t a, ConstMatrixView products) {
  add(a, source_.cview(), products);
}

void ContextMoments::add(std::int32_t a, ConstMatrixView left, ConstMatrixView right) {
  if (a + 1 >= lags_) return;
  const double pairs = std::max(1.0, static_cast<double>(at(counts_.pairs, a)));
  Matrix block(ctx_.device(), source_.cols, source_.cols);  // Sᵀ J S = (Jᵀ S)ᵀ S
  ctx_.linear().gemm(1 / pairs, Op::transpose, left, Op::none, right, 0, block.view());
  place(a + 1, block);
}

void ContextMoments::place(std::int32_t m, const Matrix& block) {
  const std::int64_t d = source_.cols;
  const std::vector<double> c = to_host(block);
  const HostView own(c, d);
  const HostView moments(moments_, lags_ * d);
  for (std::int64_t a = m; a < lags_; ++a) {
    const HostView below = moments.block(a * d, (a - m) * d, d, d),
                   above = moments.block((a - m) * d, a * d, d, d);
    for (std::int64_t i = 0; i < d; ++i)  // on the diagonal both are one: the later, below, stands
      for (std::int64_t j = 0; j < d; ++j) below(i, j) = above(j, i) = own(i, j);
  }
}

Matrix ContextMoments::all() const {
  return matrix_from(ctx_.device(), moments_, lags_ * source_.cols, lags_ * source_.cols);
}

void class_sums(Context& ctx, const Counts& counts, const Matrix& source, std::int32_t a, MatrixView out) {
  const RealCsr before =
      ctx.linear().to_real(ctx.linear().transpose(at(counts.lags, a).view()).view(), nullptr);
  ctx.linear().spmm(before.view(), source.cview(), out);
}

Peak class_sums_memory(const LinearOps& ops, const CountsShape& counts, std::int64_t d_s) {
  const std::int64_t v = counts.vocab, most = counts.most_entries();
  const Footprint lag = on_device(csr_bytes(v, most));
  Peak out;
  out.reach(lag + lag + ops.sparse_scratch(v, most));
  out.reach(lag + ops.spmm_scratch(v, v, most, d_s));
  return out;
}

void measure(Context& ctx, const Buffer<double>& share, const Matrix& moments, const Matrix& source,
             const Matrix& target, const Matrix& cores, LagFactors& f) {
  LinearOps& linear = ctx.linear();
  {
    Matrix product(ctx.device(), f.lags * f.d_s, f.d_o), written(ctx.device(), f.d_o, f.d_o);
    linear.gemm(1, Op::none, moments.cview(), Op::none, cores.cview(), 0, product.view());
    linear.gemm(1, Op::transpose, cores.cview(), Op::none, product.cview(), 0, written.view());
    f.written_norm = std::sqrt(std::max(0.0, mean_diagonal(written) * static_cast<double>(f.d_o)));
  }

  // The singular values of diag(√p) S G Uᵀ diag(√p) are those of (SᵀDS)^½ G (UᵀDU)^½, D = diag(p).
  const auto root_of_gram = [&](const Matrix& x) {
    Matrix weighted = copy_of(x), gram(ctx.device(), x.cols, x.cols);
    linear.scale(weighted.view(), share.data(), nullptr);
    linear.gemm(1, Op::transpose, x.cview(), Op::none, weighted.cview(), 0, gram.view());
    return symmetric_function(ctx, gram.cview(), 0, [](double v) { return std::sqrt(v); });
  };
  const Matrix left = root_of_gram(source), right = root_of_gram(target);
  Matrix half(ctx.device(), f.d_s, f.d_o), realised(ctx.device(), f.d_s, f.d_o);
  Buffer<double> sigma = numbers_on(ctx.device(), std::min(f.d_s, f.d_o));
  f.participation.clear();
  for (std::int32_t lag = 0; lag < f.lags; ++lag) {
    const ConstMatrixView core = cores.view().row_block(lag * f.d_s, f.d_s);
    linear.gemm(1, Op::none, left.cview(), Op::none, core, 0, half.view());
    linear.gemm(1, Op::none, half.cview(), Op::none, right.cview(), 0, realised.view());
    linear.svd(realised.cview(), {}, sigma.data(), {});
    f.participation.push_back(participation_ratio(to_host(sigma)));
  }
}

Peak measure_memory(const LinearOps& ops, std::int64_t vocab, const FactorParams& p) {
  const std::int64_t n = p.lags * p.d_s, widest = std::max(p.d_s, p.d_o);
  const auto real = [](std::int64_t rows, std::int64_t cols) { return on_device(matrix_bytes(rows, cols)); };
  Peak out;
  out.reach(real(n + p.d_o, p.d_o) + on_host(matrix_bytes(p.d_o, p.d_o)));
  out.reach(real(vocab, widest) + real(widest, 2 * widest));
  out.reach(real(widest, 5 * widest) + ops.eigh_scratch(widest, 1));
  out.reach(real(widest, 4 * widest) + ops.svd_scratch(p.d_s, p.d_o, 1, false));
  return out;
}

}  // namespace aloft::offset
