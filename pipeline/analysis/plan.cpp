#include <algorithm>

#include "pipeline/analysis/analysis.hpp"
#include "pipeline/analysis/gram_spectra.hpp"
#include "pipeline/analysis/permutations.hpp"
#include "pipeline/counts/marginals.hpp"

namespace aloft::analysis {

Peak analysis_memory(const LinearOps& ops, const ModelShape& s, bool tied, bool with_second,
                     const CountsShape* counts) {
  const std::int64_t d = s.d_model, q = s.heads * s.head_dim, g = layers_at_a_time(s), sides = tied ? 1 : 2;
  const std::int64_t vocab = counts == nullptr ? s.vocab : counts->vocab;
  const auto square = [&](std::int64_t n) { return on_device(matrix_bytes(d, d, n)); };
  const auto rows = [&](std::int64_t n) { return on_device(matrix_bytes(vocab, d, n)); };
  // As floats on the host, one of them as doubles on the way to the device.
  const Footprint model = on_host(matrix_bytes(s.vocab, d, sides * (with_second ? 2 : 1)) / 2);
  Footprint held = model + rows(sides);
  Peak out;
  out.reach(held + on_host(matrix_bytes(vocab, d, 2)));

  const bool by_formula = d > kWidestPermuted, by_gram = d > kWidestBySvd;
  std::int64_t lags = 0;
  if (counts != nullptr) {
    lags = std::ssize(counts->entries);
    const std::int64_t shuffled_lags = by_formula ? 1 : lags;
    const Footprint entry = on_device(csr_bytes(vocab, counts->most_entries()));
    const Footprint shuffled = on_device(counts->bytes() * static_cast<std::uint64_t>(shuffled_lags) /
                                         static_cast<std::uint64_t>(lags));
    // symmetric and antisymmetric parts, plain and centred; views, their basis, bands, ones
    const Footprint all = square(4 * (lags + shuffled_lags) * sides + 6 + 1 + 4 + 1);
    // a lag as real numbers and transposed, its products with the rows
    Peak work;
    work.reach(entry + entry + rows(2) + ops.sparse_scratch(vocab, counts->most_entries()) +
               ops.spmm_scratch(vocab, vocab, counts->most_entries(), d));
    const std::int64_t at_once = by_gram ? 2 : 2 * lags;
    work.reach(square(4 * lags + 3 * at_once) +
               (by_gram ? ops.eigh_top_scratch(d, at_once) : ops.svd_scratch(d, d, at_once, true)));
    work.reach(square(4 * lags + 4 * at_once) + ops.skew_spectrum_scratch(d, at_once));
    work.reach(square(2) + ops.eigh_scratch(d, 1));
    out.reach(held + shuffled + all, work);
    held = held + all;
  }
  const Footprint group = on_device(matrix_bytes(4 * q, d, g * (with_second ? 2 : 1)));
  const std::int64_t kernels = (s.heads + 1) * g, views = std::max<std::int64_t>(4 * lags, 8),
                     side = std::max(q, d);
  Peak work;
  // both circuits' factors, side by side and under each other; their kernels whole where they are not of low
  // rank
  work.reach(on_device(matrix_bytes(12 * q, d, g)) + square(8 * g) + ops.eigenvalues_scratch(d, 2 * g) +
             (by_gram ? ops.eigh_top_scratch(side, 2 * g) : ops.svd_scratch(side, d, 2 * g, true)));
  work.reach(on_device(matrix_bytes(4 * q, d, g)) + square(kernels) +
             on_device(by_formula ? 0 : permuted_bytes(kernels, views, d * d)));
  work.reach(square(3 * (5 * g + 1) + 6 + 6) + on_device(by_formula ? 0 : permuted_bytes(8, 8, d * d)));
  if (with_second) work.reach(on_device(matrix_bytes(8 * q, d, g)) + square(4 * g + 8) + rows(2));
  out.reach(held + group + group, work);
  return out;
}

}  // namespace aloft::analysis
