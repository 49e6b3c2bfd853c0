#include <cmath>
#include <span>

#include "host/error.hpp"
#include "kernels/spectral_measures.hpp"
#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/offset/estimators.hpp"

namespace aloft::offset {

std::vector<double> smoothed_unigram(const Counts& counts) {
  std::vector<double> p;
  double sum = 0;
  for (const std::uint64_t n : counts.unigram) sum += static_cast<double>(n) + 0.5;
  for (const std::uint64_t n : counts.unigram) p.push_back((static_cast<double>(n) + 0.5) / sum);
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

Matrix context_moments(Context& ctx, const Counts& counts, const Matrix& source, const Buffer<double>& p,
                       std::int32_t lags) {
  LinearOps& linear = ctx.linear();
  const std::int64_t vocab = source.rows, d = source.cols, n = lags * d;
  Matrix product(ctx.device(), vocab, d), block(ctx.device(), d, d);
  std::vector<double> all = host_matrix(n, n);
  const HostView moments(all, n);
  for (std::int32_t lag = 0; lag < lags; ++lag) {
    if (lag == 0) {
      copy(ctx.device(), source.view(), product.view());
      linear.scale(product.view(), p.data(), nullptr);
      linear.gemm(1, Op::transpose, source.cview(), Op::none, product.cview(), 0, block.view());
    } else {
      const RealCsr j = linear.to_real(at(counts.lags, lag - 1).view(), nullptr);
      linear.spmm(j.view(), source.cview(), product.view());
      const double pairs = std::max(1.0, static_cast<double>(at(counts.pairs, lag - 1)));
      linear.gemm(1 / pairs, Op::transpose, source.cview(), Op::none, product.cview(), 0, block.view());
    }
    const std::vector<double> c = to_host(block);
    const HostView own(c, d);
    for (std::int64_t a = lag; a < lags; ++a) {
      const HostView below = moments.block(a * d, (a - lag) * d, d, d),
                     above = moments.block((a - lag) * d, a * d, d, d);
      for (std::int64_t i = 0; i < d; ++i)  // on the diagonal both are one: the later, below, stands
        for (std::int64_t j = 0; j < d; ++j) below(i, j) = above(j, i) = own(i, j);
    }
  }
  return matrix_from(ctx.device(), all, n, n);
}

void measure(Context& ctx, const Counts& counts, const std::vector<double>& p, LagFactors& f) {
  LinearOps& linear = ctx.linear();
  const Buffer<double> share = device_vector(ctx, p);
  const Matrix source = matrix_from(ctx.device(), f.source, f.vocab, f.d_s);
  const Matrix target = matrix_from(ctx.device(), f.target, f.vocab, f.d_o);
  const Matrix cores = matrix_from(ctx.device(), f.cores, f.lags * f.d_s, f.d_o);

  const Matrix moments = context_moments(ctx, counts, source, share, f.lags);
  Matrix product(ctx.device(), f.lags * f.d_s, f.d_o), written(ctx.device(), f.d_o, f.d_o);
  linear.gemm(1, Op::none, moments.cview(), Op::none, cores.cview(), 0, product.view());
  linear.gemm(1, Op::transpose, cores.cview(), Op::none, product.cview(), 0, written.view());
  f.written_norm = std::sqrt(std::max(0.0, mean_diagonal(written) * static_cast<double>(f.d_o)));

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

Peak measure_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p) {
  const std::int64_t v = counts.vocab, n = p.lags * p.d_s, most = counts.most_entries(),
                     widest = std::max(p.d_s, p.d_o);
  const auto real = [](std::int64_t rows, std::int64_t cols) { return on_device(matrix_bytes(rows, cols)); };
  const Footprint held = real(v, p.d_s + p.d_o + 1) + real(n, p.d_o);
  Peak out;
  out.reach(held + real(v, p.d_s) + on_device(csr_bytes(v, most)) + on_host(matrix_bytes(n, n)) +
            ops.spmm_scratch(v, v, most, p.d_s));
  out.reach(held + real(n, n) + on_host(matrix_bytes(n, n)));
  const Footprint moments = real(n, n + p.d_o), square = real(widest, widest);
  out.reach(held + moments + real(v, widest) + square + square);
  out.reach(held + moments + real(widest, 5 * widest) + ops.eigh_scratch(widest, 1));
  out.reach(held + moments + real(widest, 4 * widest) + ops.svd_scratch(p.d_s, p.d_o, 1, false));
  return out;
}

}  // namespace aloft::offset
