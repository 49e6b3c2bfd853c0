#include "pipeline/counts/counts.hpp"
#include "pipeline/counts/marginals.hpp"
#include "pipeline/spectra/spectra.hpp"

namespace aloft {

std::vector<LagAsymmetry> measure_asymmetry(Context& ctx, const Counts& counts) {
  LinearOps& linear = ctx.linear();
  std::vector<LagAsymmetry> out;
  for (const CountCsr& lag : counts.lags) {
    ctx.check_interrupt();
    const TransposeInner j = linear.transpose_inner(linear.to_real(lag.view(), nullptr).view());
    const auto scale = reciprocals(ctx.device(), marginals_of(ctx, lag).source);
    const TransposeInner t = linear.transpose_inner(linear.to_real(lag.view(), scale.data()).view());
    out.push_back({j.norm2, j.inner, t.norm2, t.inner});
    ctx.progress().update("asymmetry", static_cast<double>(out.size()),
                          static_cast<double>(counts.lags.size()), out.size(), "lags");
  }
  return out;
}

Peak measure_asymmetry_memory(const LinearOps& ops, const CountsShape& counts) {
  const std::int64_t nnz = counts.most_entries();
  const Footprint matrix = on_device(csr_bytes(counts.vocab, nnz));
  Peak out;
  out.reach(matrix + matrix + ops.sparse_scratch(counts.vocab, nnz));  // and its mirror image
  return out;
}

}  // namespace aloft
