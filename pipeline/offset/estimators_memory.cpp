#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/base/krylov_eigen.hpp"
#include "pipeline/offset/estimators.hpp"
#include "pipeline/offset/weight_fit.hpp"

// What the estimators hold, moment by moment in the order of their code; "v" is the vocabulary, "n" the width
// of all lags' embeddings side by side. tests/memory_plan_test.cpp sees to it that this stays so.

namespace aloft::offset {

Peak discriminant_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p,
                         std::int64_t chosen_on) {
  const std::int64_t v = counts.vocab, d = p.d_s, n = p.lags * d, first = counts.entries.front(),
                     most = counts.most_entries();
  const auto real = [](std::int64_t rows, std::int64_t cols) { return on_device(matrix_bytes(rows, cols)); };
  const auto host = [](std::int64_t rows, std::int64_t cols) { return on_host(matrix_bytes(rows, cols)); };
  const Footprint ppmi = on_device(csr_bytes(v, first)), lag = on_device(csr_bytes(v, most)),
                  square = real(n, n), vectors = real(v, 4) + host(v, 4), source = real(v, d),
                  fixed = vectors + source + square + square, means = real(v, n),
                  stripe = real(longest_stripe(v), n);
  Peak out;
  // S
  out.reach(vectors + ppmi + ppmi + ops.sparse_scratch(v, first));
  out.reach(vectors + ppmi + ppmi, krylov_memory(ops, v, d, [&](std::int64_t columns) {
              return real(v, columns) + ops.spmm_scratch(v, v, first, columns);
            }));
  out.reach(vectors + source + host(v, d));
  // moments and their eigenvectors
  out.reach(vectors + source + source + lag + host(n, n) + ops.spmm_scratch(v, v, most, d));
  out.reach(fixed + ops.eigh_scratch(n, 1));
  // class means
  out.reach(fixed + means + lag + lag + ops.sparse_scratch(v, most));
  out.reach(fixed + means + lag + ops.spmm_scratch(v, v, most, d));
  // discriminants; where scalars are chosen also S and some positions' logits on the host
  const Footprint both = fixed + means + means;
  out.reach(both + stripe);
  out.reach(both + on_host(2 * stripe.device) + (chosen_on > 0 ? host(v, d) : Footprint{}));
  if (chosen_on > 0) {
    const std::int64_t batch = std::min(chosen_on, positions_at_once(1));
    out.reach(both + host(v, d) + real(batch, n + v) + host(batch, n + v));
  }
  // rank reduction: whitening and its inverse, the Gram matrix and its eigenvectors; the result
  out.reach(fixed + means + stripe + square + square);
  out.reach(fixed + means + square + square + square + square + ops.eigh_scratch(n, 1));
  out.reach(fixed + means + square + square + square + square + real(v + 3 * n, p.d_o) + host(v, d + p.d_o) +
            host(n, n + 2 * p.d_o));
  return out;
}

Peak tucker_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p,
                   std::int64_t chosen_on) {
  const std::int64_t v = counts.vocab, n = p.lags * p.d_s, most = counts.most_entries();
  const auto real = [](std::int64_t rows, std::int64_t cols) { return on_device(matrix_bytes(rows, cols)); };
  const auto host = [](std::int64_t rows, std::int64_t cols) { return on_host(matrix_bytes(rows, cols)); };
  const Footprint vectors = real(v, 4) + host(v, 6), lag = on_device(csr_bytes(v, most)),
                  bases = host(v, p.d_s + p.d_o);
  Footprint ratios = vectors;
  for (std::int32_t l = 0; l < p.lags; ++l) {
    const Footprint one = on_device(csr_bytes(v, at(counts.entries, l)));
    ratios = ratios + one + one + real(v, 1);
  }
  const auto krylov = [&](std::int64_t k) {
    return krylov_memory(ops, v, k, [&](std::int64_t columns) {
      return real(v, 3 * columns) + ops.spmm_scratch(v, v, most, columns);
    });
  };
  Peak out;
  out.reach(ratios + ops.sparse_scratch(v, most));
  out.reach(ratios, krylov(p.d_s));
  out.reach(ratios + real(v, p.d_s) + host(v, p.d_s));
  out.reach(ratios + host(v, p.d_s), krylov(p.d_o));
  out.reach(ratios + bases + real(v, p.d_o));
  out.reach(ratios + bases + real(v, 2 * p.d_s + 2 * p.d_o) + real(p.d_s, 2 * (p.d_s + p.d_o)) +
            ops.spmm_scratch(v, v, most, p.d_o));
  if (chosen_on > 0) {
    const std::int64_t rows =
        p.lags * std::min(chosen_on, positions_at_once(static_cast<std::size_t>(p.lags)));
    out.reach(vectors + bases + real(v, p.d_o) + real(rows, v + p.d_s + p.d_o) + host(rows, v + p.d_s));
  } else {  // axes of what is written
    out.reach(vectors + bases + real(v, 2 * p.d_s) + lag + host(n, n) + ops.spmm_scratch(v, v, most, p.d_s));
    out.reach(vectors + bases + real(v, p.d_s + 2 * p.d_o) + host(v, 2 * p.d_o) + real(n, n + 2 * p.d_o) +
              real(p.d_o, 2 * p.d_o) + ops.eigh_scratch(p.d_o, 1));
  }
  return out;
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
