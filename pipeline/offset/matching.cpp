#include "pipeline/offset/matching.hpp"

#include <algorithm>
#include <cmath>

#include "host/error.hpp"
#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/offset/estimators.hpp"

namespace aloft {
namespace {

constexpr double kRidge = 1e-4;  // of the mean eigenvalue of SᵀDS

std::vector<double> unigram_of(const std::vector<double>& log_p) {
  const double top = *std::max_element(log_p.begin(), log_p.end());
  std::vector<double> p;
  double sum = 0;
  for (const double x : log_p) {
    p.push_back(std::exp(x - top));
    sum += p.back();
  }
  for (double& x : p) x /= sum;
  return p;
}

}  // namespace

Matching fit_matching(Context& ctx, const LagFactors& f, std::int64_t d_m, std::int64_t rank) {
  expects(d_m >= 1 && d_m <= f.d_s && rank >= 1, "a code no longer than the source");
  LinearOps& linear = ctx.linear();
  Matching out;
  out.d_m = d_m;
  out.rank = std::min({rank, f.d_s, f.d_o});

  const std::vector<double> p = unigram_of(f.log_p);
  const Buffer<double> share = offset::device_vector(ctx, p);
  const Matrix source = matrix_from(ctx.device(), f.source, f.vocab, f.d_s);
  const Matrix target = matrix_from(ctx.device(), f.target, f.vocab, f.d_o);
  Matrix weighted = copy_of(source), gram(ctx.device(), f.d_s, f.d_s), cross(ctx.device(), f.d_s, f.d_o);
  linear.scale(weighted.view(), share.data(), nullptr);
  linear.gemm(1, Op::transpose, weighted.cview(), Op::none, source.cview(), 0, gram.view());
  linear.gemm(1, Op::transpose, weighted.cview(), Op::none, target.cview(), 0, cross.view());
  const double floor = std::max(kRidge * offset::mean_diagonal(gram), 1e-300);

  Matrix vectors(ctx.device(), f.d_s, f.d_s);
  Buffer<double> values = numbers_on(ctx.device(), f.d_s);
  linear.eigh(gram.cview(), values.data(), vectors.view());
  const std::vector<double> lambda = to_host(values), q = to_host(vectors);
  for (std::int64_t r = 0; r < d_m; ++r) {
    const std::int64_t column = f.d_s - 1 - r;  // eigenvalues ascend
    const double scale = 1 / std::sqrt(static_cast<double>(d_m) * std::max(at(lambda, column), floor));
    for (std::int64_t c = 0; c < f.d_s; ++c) out.code.push_back(HostView(q, f.d_s)(c, column) * scale);
  }

  // (SᵀDS)^½ map = A Σ Bᵀ: the leading terms lose least of what is written. value = (SᵀDS)^-½ A √Σ, output =
  // √Σ Bᵀ.
  const auto inverse_root = [](double x) { return 1 / std::sqrt(x); };
  const Matrix whiten = offset::symmetric_function(ctx, gram.cview(), floor, inverse_root);
  const std::int64_t k = std::min(f.d_s, f.d_o);
  Matrix white(ctx.device(), f.d_s, f.d_o), left(ctx.device(), f.d_s, k), right(ctx.device(), k, f.d_o),
      value(ctx.device(), f.d_s, k);
  Buffer<double> sigma = numbers_on(ctx.device(), k);
  linear.gemm(1, Op::none, whiten.cview(), Op::none, cross.cview(), 0, white.view());
  linear.svd(white.cview(), left.view(), sigma.data(), right.view());
  linear.gemm(1, Op::none, whiten.cview(), Op::none, left.cview(), 0, value.view());
  const std::vector<double> s = to_host(sigma), v = to_host(value), b = to_host(right);
  double own = 0;  // Σ_i p_i S_i map U_iᵀ = ⟨map, SᵀDU⟩ = ‖the reduced white map‖²
  for (std::int64_t r = 0; r < out.rank; ++r) own += at(s, r) * at(s, r);
  own = std::max(own, 1e-300);
  for (std::int64_t r = 0; r < out.rank; ++r) {
    const double root = std::sqrt(at(s, r) / own);
    for (std::int64_t c = 0; c < f.d_s; ++c) out.value.push_back(HostView(v, k)(c, r) * root);
    for (std::int64_t c = 0; c < f.d_o; ++c) out.output.push_back(HostView(b, f.d_o)(r, c) * root);
  }
  return out;
}

// Tables while [d_s, d_s] is formed; then what is left of it, its eigenvectors, and the map's factors.
Peak matching_memory(const LinearOps& ops, std::int64_t vocab, std::int64_t d_s, std::int64_t d_o) {
  const std::int64_t k = std::min(d_s, d_o);
  const Footprint tables =
                      on_device(matrix_bytes(vocab, 2 * d_s + d_o + 1)) + on_host(matrix_bytes(vocab, 1)),
                  square = on_device(matrix_bytes(d_s, d_s)),
                  held = tables + square + square + on_device(matrix_bytes(d_s, d_o)) +
                         on_host(matrix_bytes(d_s, d_s)),
                  factors = on_device(matrix_bytes(d_s, d_o + 2 * k) + matrix_bytes(k, d_o));
  Peak out;
  out.reach(held + ops.eigh_scratch(d_s, 1));
  out.reach(held + square + square + square + ops.eigh_scratch(d_s, 1));
  out.reach(held + square + factors + ops.svd_scratch(d_s, d_o, 1, true));
  out.reach(held + square + factors + on_host(matrix_bytes(d_s + d_o, k)));
  return out;
}

}  // namespace aloft
