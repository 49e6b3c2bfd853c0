#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "pipeline/krylov_eigen.hpp"
#include "pipeline/stages.hpp"

namespace aloft {
namespace {

constexpr double kRankTolerance = 1e-10;  // of |λ₁|: below is what the solver leaves of an exact zero

}  // namespace

Embedding embed_ppmi_svd(Context& ctx, const Counts& counts, std::int64_t d, std::uint64_t seed) {
  if (d < 1) throw UsageError(fmt::format("an embedding of dimension {} makes no sense", d));
  expects(!counts.lags.empty(), "counts of lag 1");
  const CountCsr& j = counts.lags[0];
  const CountCsr reversed = ctx.linear().transpose(j.view());
  const CountCsr cooccurrence = ctx.count().add(j.view(), reversed.view());
  const RealCsr ppmi = ctx.linear().positive_pmi(cooccurrence.view());

  // The matrix is symmetric: its left singular vectors are eigenvectors, its singular values |λ|.
  const std::int64_t vocab = counts.vocab, k = std::min(d, vocab);
  const EigenPairs pairs = largest_eigenpairs(ctx, ppmi.view(), k, seed, "embed");

  // Signs and the rounding to F32 are for the host: the artifact wants these numbers there anyway.
  const std::vector<double> vectors = to_host(pairs.vectors.data);
  std::vector<double> rows(static_cast<std::size_t>(vocab * d), 0.0);
  std::int64_t rank = 0;
  for (; rank < k &&
         std::abs(pairs.values[static_cast<std::size_t>(rank)]) > kRankTolerance * std::abs(pairs.values[0]);
       ++rank) {
    const std::span<const double> u(vectors.data() + rank * vocab, static_cast<std::size_t>(vocab));
    const auto largest =
        std::max_element(u.begin(), u.end(), [](double a, double b) { return std::abs(a) < std::abs(b); });
    const double scale =
        std::copysign(std::sqrt(std::abs(pairs.values[static_cast<std::size_t>(rank)])), *largest);
    for (std::int64_t i = 0; i < vocab; ++i)
      rows[static_cast<std::size_t>(i * d + rank)] =
          static_cast<double>(static_cast<float>(scale * u[static_cast<std::size_t>(i)]));
  }
  return {matrix_from(ctx.device(), rows, vocab, d), "ppmi-svd", rank};
}

}  // namespace aloft
