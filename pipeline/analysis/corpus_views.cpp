#include "pipeline/analysis/corpus_views.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/counts/marginals.hpp"

namespace aloft::analysis {
namespace {

constexpr std::int64_t kAttendedIds = 4096;  // the second paper's K_2 is 4000 × 4000

/// xᵀ y, both [V, d].
void gram(Context& ctx, ConstMatrixView x, ConstMatrixView y, MatrixView out) {
  ctx.linear().gemm(1, Op::transpose, x, Op::none, y, 0, out);
}

/// out = xᵀ w of a weight for every row: [d].
Matrix weighted_sum(Context& ctx, ConstMatrixView x, const std::vector<double>& weights) {
  const Matrix w = matrix_from(ctx.device(), weights, x.rows, 1);
  Matrix out(ctx.device(), x.cols, 1);
  ctx.linear().gemm(1, Op::transpose, x, Op::none, w.cview(), 0, out.view());
  return out;
}

}  // namespace

Transitions transitions(Context& ctx, const Counts& counts, ConstMatrixView e, ConstMatrixView x) {
  LinearOps& linear = ctx.linear();
  const std::int64_t d = e.cols, lags = counts.max_lag;
  Transitions out{Matrix(ctx.device(), d, d, lags), Matrix(ctx.device(), d, d, lags)};
  Matrix targets(ctx.device(), x.rows, d);
  for (std::int64_t n = 0; n < lags; ++n) {
    ctx.check_interrupt();
    const CountCsr& lag = counts.lags[static_cast<std::size_t>(n)];
    const Marginals marginals = marginals_of(ctx, lag);
    const auto inverse = reciprocals(ctx.device(), marginals.source);
    const RealCsr transition = linear.to_real(lag.view(), inverse.data());
    linear.spmm(transition.view(), x, targets.view());
    gram(ctx, e, targets.cview(), out.plain.view().item(n));

    std::vector<double> has_pairs, share;
    // A lag that no document is long enough for has no pairs: all of it is zero.
    const double pairs = std::max(static_cast<double>(counts.pairs[static_cast<std::size_t>(n)]), 1.0);
    for (std::size_t i = 0; i < marginals.source.size(); ++i) {
      has_pairs.push_back(marginals.source[i] > 0 ? 1 : 0);
      share.push_back(static_cast<double>(marginals.target[i]) / pairs);
    }
    const Matrix sources = weighted_sum(ctx, e, has_pairs), follows = weighted_sum(ctx, x, share);
    copy(ctx.device(), out.plain.cview().item(n), out.centred.view().item(n));
    linear.gemm(-1, Op::none, sources.cview(), Op::transpose, follows.cview(), 1, out.centred.view().item(n));
    ctx.device().synchronize();
    ctx.progress().update("corpus", static_cast<double>(n + 1), static_cast<double>(lags),
                          static_cast<std::uint64_t>(n + 1), "lags");
  }
  return out;
}

PairViews pair_views(Context& ctx, const Counts& counts, ConstMatrixView e) {
  LinearOps& linear = ctx.linear();
  const std::int64_t d = e.cols;
  PairViews out{Matrix(ctx.device(), d, d, 6), Matrix(ctx.device(), d, d)};
  zero(ctx.device(), out.views.view());
  const auto view = [&](std::int64_t i) { return out.views.view().item(i); };
  const RealCsr j = linear.to_real(counts.lags[0].view(), nullptr);
  const RealCsr reversed = linear.transpose(j.view());
  Matrix next(ctx.device(), e.rows, d), before(ctx.device(), e.rows, d);
  linear.spmm(j.view(), e, next.view());
  linear.spmm(reversed.view(), e, before.view());
  gram(ctx, e, next.cview(), view(0));
  linear.transpose(view(0), view(1));
  gram(ctx, before.cview(), next.cview(), view(3));  // Eᵀ J J E = (Jᵀ E)ᵀ (J E)
  if (counts.max_lag >= 2) {
    const RealCsr j2 = linear.to_real(counts.lags[1].view(), nullptr);
    linear.spmm(j2.view(), e, next.view());
    gram(ctx, e, next.cview(), view(2));
  }
  gram(ctx, e, e, view(4));
  copy(ctx.device(), identity(ctx.device(), d).cview(), view(5));

  Matrix symmetric = copy_of(ctx.device(), view(0));
  linear.add_scaled(1, view(1), symmetric.view());
  Buffer<double> lambda = numbers_on(ctx.device(), d);
  linear.eigh(symmetric.cview(), lambda.data(), symmetric.view());
  const auto values = to_host(lambda);
  const auto vectors = to_host(symmetric);
  const HostView columns(vectors, d);
  std::vector<std::int64_t> order(static_cast<std::size_t>(d));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return std::abs(at(values, a)) > std::abs(at(values, b));
  });
  std::vector<std::int32_t> signed_order;  // each with its largest entry positive
  for (const std::int64_t column : order) {
    std::int64_t largest = 0;
    for (std::int64_t i = 1; i < d; ++i)
      if (std::abs(columns(i, column)) > std::abs(columns(largest, column))) largest = i;
    signed_order.push_back(signed_index(column, columns(largest, column) < 0));
  }
  const auto on_device = to_device<const std::int32_t>(ctx.device(), signed_order);
  linear.permute(symmetric.cview(), nullptr, on_device.data(), out.eigenbasis.view());
  ctx.device().synchronize();
  return out;
}

std::vector<double> unit_rms_rows(const std::vector<double>& rows, std::int64_t d) {
  std::vector<double> out = rows;
  const HostView all(out, d);
  for (std::int64_t i = 0; i < all.rows(); ++i) {
    const double rms = std::sqrt(squared_norm(all.row(i), d) / static_cast<double>(d));
    if (rms > 0)
      for (std::int64_t j = 0; j < d; ++j) all(i, j) /= rms;
  }
  return out;
}

AttendedPairs::AttendedPairs(Context& ctx, const Counts& counts, const TokenRows& rows) {
  std::vector<std::uint32_t> ids(counts.unigram.size());
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::uint32_t>(i);
  std::stable_sort(ids.begin(), ids.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return counts.unigram[a] > counts.unigram[b]; });
  ids.resize(std::min<std::size_t>(ids.size(), kAttendedIds));
  std::sort(ids.begin(), ids.end());
  std::vector<std::int64_t> place(counts.unigram.size(), -1);
  for (std::size_t k = 0; k < ids.size(); ++k) place[ids[k]] = static_cast<std::int64_t>(k);

  const CountCsr later_first = ctx.linear().transpose(counts.lags[0].view());
  const auto offsets = to_host(later_first.row_offsets), values = to_host(later_first.values);
  const auto columns = to_host(later_first.columns);
  std::vector<std::uint64_t> kept_offsets{0};
  std::vector<std::uint32_t> kept_columns;
  std::vector<double> kept_values;
  for (const std::uint32_t id : ids) {
    for (std::uint64_t e = offsets[id]; e < offsets[id + 1]; ++e)
      if (place[columns[e]] >= 0) {
        kept_columns.push_back(static_cast<std::uint32_t>(place[columns[e]]));
        kept_values.push_back(static_cast<double>(values[e]));
      }
    kept_offsets.push_back(kept_columns.size());
  }
  const auto n = static_cast<std::int64_t>(ids.size());
  pairs_ = {n, n, to_device<const std::uint64_t>(ctx.device(), kept_offsets),
            to_device<const std::uint32_t>(ctx.device(), kept_columns),
            to_device<const double>(ctx.device(), kept_values)};

  const std::int64_t d = rows.embedding.cols;
  std::vector<double> chosen;
  for (const std::uint32_t id : ids) {
    const auto row = to_host(ctx.device(), rows.e().row_block(id, 1));
    chosen.insert(chosen.end(), row.begin(), row.end());
  }
  rows_ = matrix_from(ctx.device(), chosen, n, d);
  unit_ = matrix_from(ctx.device(), unit_rms_rows(chosen, d), n, d);
}

Matrix AttendedPairs::weighted(Context& ctx, const ModelShape& s, const LayerGroup& group,
                               std::int64_t layer) const {
  LinearOps& linear = ctx.linear();
  const std::int64_t d = s.d_model, q = s.heads * s.head_dim;
  const std::int64_t kv = s.kv_heads * s.head_dim;
  Matrix queries(ctx.device(), unit_.rows, q), unexpanded(ctx.device(), unit_.rows, kv);
  linear.gemm(1, Op::none, unit_.cview(), Op::transpose, group.query.cview().item(layer), 0, queries.view());
  linear.gemm(1, Op::none, unit_.cview(), Op::transpose, group.key.cview().item(layer), 0, unexpanded.view());
  Matrix keys(ctx.device(), unit_.rows, q);
  {
    const auto columns = to_device<const std::int32_t>(ctx.device(), expanded_rows(s));
    linear.permute(unexpanded.cview(), nullptr, columns.data(), keys.view());
    ctx.device().synchronize();  // before the indices go
  }
  const RealCsr weighted = linear.attention_weighted(pairs_.view(), queries.cview(), keys.cview(), s.heads,
                                                     1 / std::sqrt(static_cast<double>(s.head_dim)));
  // rows of `weighted` are later tokens: Eᵀ (weighted)ᵀ E = (weighted E)ᵀ E
  Matrix sums(ctx.device(), unit_.rows, d), out(ctx.device(), d, d);
  linear.spmm(weighted.view(), rows_.cview(), sums.view());
  linear.gemm(1, Op::transpose, sums.cview(), Op::none, rows_.cview(), 0, out.view());
  return out;
}

}  // namespace aloft::analysis
