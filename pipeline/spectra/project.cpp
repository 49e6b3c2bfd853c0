#include <fmt/format.h>

#include <span>

#include "pipeline/counts/counts.hpp"
#include "pipeline/counts/marginals.hpp"
#include "pipeline/spectra/spectra.hpp"

// Everything later stages need from the corpus, in embedding coordinates: one sparse product and four dense
// ones a lag. No V×V matrix is ever dense.

namespace aloft {
namespace {

std::vector<double> shares(const std::vector<std::uint64_t>& counts, double total) {
  std::vector<double> out;
  out.reserve(counts.size());
  for (const std::uint64_t n : counts) out.push_back(static_cast<double>(n) / total);
  return out;
}

class LagProjection {
 public:
  LagProjection(Context& ctx, const Embedding& embedding)
      : ctx_(ctx),
        e_(embedding.rows.view()),
        targets_(ctx.device(), e_.rows, e_.cols),
        scaled_(ctx.device(), e_.rows, e_.cols),
        source_mean_(ctx.device(), e_.cols, 1),
        target_mean_(ctx.device(), e_.cols, 1) {}

  /// P_n; leaves J_n E in targets_.
  void transition(const CountCsr& counts, const Marginals& marginals, MatrixView out) {
    LinearOps& linear = ctx_.linear();
    const RealCsr j = linear.to_real(counts.view(), nullptr);
    linear.spmm(j.view(), e_, targets_.view());
    const auto inverse = reciprocals(ctx_.device(), marginals.source);
    scale_rows(inverse.data());
    linear.gemm(1, Op::transpose, scaled_.view(), Op::none, targets_.view(), 0, out);
  }

  /// R_n and the covariances, of the counts that transition() saw last.
  void deviation(const Marginals& marginals, double pairs, MatrixView deviation, MatrixView source_cov,
                 MatrixView target_cov) {
    LinearOps& linear = ctx_.linear();

    const auto source = shares(marginals.source, pairs), target = shares(marginals.target, pairs);
    covariance(source, source_mean_.view(), source_cov);
    covariance(target, target_mean_.view(), target_cov);

    linear.gemm(1 / pairs, Op::transpose, e_, Op::none, targets_.view(), 0, deviation);
    linear.gemm(-1, Op::none, source_mean_.view(), Op::transpose, target_mean_.view(), 1, deviation);
  }

 private:
  void scale_rows(const double* weights) {
    copy(ctx_.device(), e_, scaled_.view());
    ctx_.linear().scale(scaled_.view(), weights, nullptr);
  }

  /// out = Eᵀ (diag w − w wᵀ) E and mean = Eᵀ w; out is symmetric up to rounding, of which eigh() reads one
  /// half.
  void covariance(const std::vector<double>& w, MatrixView mean, MatrixView out) {
    const auto weights = to_device(ctx_.device(), std::span(w));
    scale_rows(weights.data());
    LinearOps& linear = ctx_.linear();
    linear.gemm(1, Op::transpose, e_, Op::none, ConstMatrixView(weights.data(), e_.rows, 1), 0, mean);
    linear.gemm(1, Op::transpose, e_, Op::none, scaled_.view(), 0, out);
    linear.gemm(-1, Op::none, mean, Op::transpose, mean, 1, out);
  }

  Context& ctx_;
  ConstMatrixView e_;
  Matrix targets_, scaled_;           // [vocab, d]
  Matrix source_mean_, target_mean_;  // [d, 1]
};

}  // namespace

namespace {

Projections project_lags(Context& ctx, const Counts& counts, const Embedding& embedding,
                         bool transitions_only) {
  if (embedding.rows.rows != counts.vocab)
    throw UsageError(fmt::format("the embedding has {} rows and the corpus {} token ids", embedding.rows.rows,
                                 counts.vocab));
  const std::int64_t d = embedding.rows.cols, lags = counts.max_lag;
  Projections out;
  for (Matrix* m : {&out.transition, &out.deviation, &out.source_covariance, &out.target_covariance}) {
    if (transitions_only && m != &out.transition) continue;
    *m = Matrix(ctx.device(), d, d, lags);
    zero(ctx.device(), m->view());
  }
  LagProjection lag_projection(ctx, embedding);
  for (std::int64_t i = 0; i < lags; ++i) {
    ctx.check_interrupt();
    const auto at = static_cast<std::size_t>(i);
    if (counts.pairs[at] > 0) {  // a corpus whose documents are all shorter than the lag has zeros there
      const Marginals marginals = marginals_of(ctx, counts.lags[at]);
      lag_projection.transition(counts.lags[at], marginals, out.transition.view().item(i));
      if (!transitions_only)
        lag_projection.deviation(marginals, static_cast<double>(counts.pairs[at]),
                                 out.deviation.view().item(i), out.source_covariance.view().item(i),
                                 out.target_covariance.view().item(i));
    }
    ctx.progress().update("project", static_cast<double>(i + 1), static_cast<double>(lags),
                          static_cast<std::uint64_t>(i + 1), "lags");
  }
  return out;
}

}  // namespace

Projections project(Context& ctx, const Counts& counts, const Embedding& embedding) {
  return project_lags(ctx, counts, embedding, false);
}

Projections project_transitions(Context& ctx, const Counts& counts, const Embedding& embedding) {
  return project_lags(ctx, counts, embedding, true);
}

namespace {

Peak projection_memory(const LinearOps& ops, const CountsShape& counts, std::int64_t d,
                       std::int64_t squares) {
  const auto lags = static_cast<std::int64_t>(counts.entries.size());
  const std::int64_t v = counts.vocab, nnz = counts.most_entries();
  const Footprint held = on_device(matrix_bytes(d, d, squares * lags) + matrix_bytes(v, d, 2)),
                  vectors = on_device(matrix_bytes(v, 2)) + on_host(matrix_bytes(v, 4));
  Peak out;
  out.reach(held + vectors + on_device(csr_bytes(v, nnz)) + ops.spmm_scratch(v, v, nnz, d));
  return out;
}

}  // namespace

Peak project_memory(const LinearOps& ops, const CountsShape& counts, std::int64_t d) {
  return projection_memory(ops, counts, d, 4);
}

Peak project_transitions_memory(const LinearOps& ops, const CountsShape& counts, std::int64_t d) {
  return projection_memory(ops, counts, d, 1);
}

}  // namespace aloft
