#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/base/krylov_eigen.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/spectra/spectra.hpp"

namespace aloft {
namespace {

constexpr double kRankTolerance = 1e-10;  // of |λ₁|: below is what the solver leaves of an exact zero

/// Positive PMI of J + Jᵀ. Symmetric: its left singular vectors are eigenvectors, its singular values |λ|.
RealCsr symmetric_ppmi(Context& ctx, const CountCsr& j) {
  const auto both = [&] {
    const CountCsr reversed = ctx.linear().transpose(j.view());
    return ctx.count().add(j.view(), reversed.view());
  };
  return ctx.linear().positive_pmi(both().view());
}

}  // namespace

Embedding embed_ppmi_svd(Context& ctx, const Counts& counts, std::int64_t d, std::uint64_t seed) {
  if (d < 1) throw UsageError(fmt::format("an embedding of dimension {} makes no sense", d));
  expects(!counts.lags.empty(), "counts of lag 1");
  const std::int64_t vocab = counts.vocab, k = std::min(d, vocab);
  EigenPairs pairs = largest_eigenpairs(ctx, symmetric_ppmi(ctx, counts.lags[0]).view(), k, seed, "embed");

  std::int64_t rank = 0;
  while (rank < k && std::abs(at(pairs.values, rank)) > kRankTolerance * std::abs(pairs.values[0])) ++rank;
  const MatrixView directions = pairs.vectors.view().row_block(0, rank);
  Buffer<double> largest = numbers_on(ctx.device(), rank);
  ctx.linear().row_extremes(directions, largest.data());
  std::vector<double> scales = to_host(largest);
  for (std::int64_t i = 0; i < rank; ++i)
    at(scales, i) = std::copysign(std::sqrt(std::abs(at(pairs.values, i))), at(scales, i));
  const Buffer<double> on_rows = to_device(ctx.device(), std::span(scales));
  ctx.linear().scale(directions, on_rows.data(), nullptr);
  Matrix rows(ctx.device(), vocab, d);
  zero(ctx.device(), rows.view());
  ctx.linear().transpose(directions, rows.view().block(0, 0, vocab, rank));
  pairs.vectors = {};
  FloatMatrix rounded(ctx.device(), vocab, d);
  ctx.linear().round(rows.cview(), rounded.view());
  ctx.linear().widen(rounded.cview(), rows.view());
  return {std::move(rows), "ppmi-svd", rank};
}

Peak embed_ppmi_svd_memory(const LinearOps& ops, const CountsShape& counts, std::int64_t d) {
  const std::int64_t v = counts.vocab, nnz = counts.entries.front();
  const auto cells = static_cast<double>(v) * static_cast<double>(v);
  const std::int64_t both = 2 * static_cast<double>(nnz) <= cells ? 2 * nnz : v * v;
  const std::int64_t k = std::min(d, v);
  const Footprint one = on_device(csr_bytes(v, nnz)), sum = on_device(csr_bytes(v, both)),
                  rows = on_device(matrix_bytes(v, d) + matrix_bytes(d, 2));
  Peak out;
  out.reach(one + ops.sparse_scratch(v, nnz));
  out.reach(one + sum + on_device(static_cast<std::uint64_t>(nnz + 1) * sizeof(std::uint64_t)));
  out.reach(sum + sum + ops.sparse_scratch(v, both));
  out.reach(sum, krylov_memory(ops, v, both, k));
  out.reach(rows + on_device(matrix_bytes(v, k)));
  out.reach(rows + on_device(float_matrix_bytes(v, d)));
  return out;
}

}  // namespace aloft
