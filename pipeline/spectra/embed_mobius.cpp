#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <span>

#include "host/byte_size.hpp"
#include "pipeline/base/device_math.hpp"
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/spectra/spectra.hpp"

// The papers' K0 kernel, for reproduction. D = log(1 + J_1 + J_1ᵀ) = Q diag(λ) Qᵀ; k0 = first row of
// Q diag(|λ|^(ε−1) sign λ) Qᵀ; W = Re ifft2(fft2(D) ∘ fft2(circ(k0))); E = eigenvectors of W's symmetric part
// × √|λ|.
//
// fft2 of a circulant lives on one anti-diagonal, so W is itself circulant: W_ij depends on (j − i) mod V
// alone, and all that E can tell apart is differences of token ids. The eigenvectors of a symmetric circulant
// are known, √(2/V) cos and √(2/V) sin of 2πfi/V, with eigenvalue Σ_j w_j cos(2πfj/V). We use them: a numeric
// solver would have to choose an arbitrary rotation within each cosine/sine pair.

namespace aloft {
namespace {

constexpr double kEpsilon = 0.01;
constexpr double kSingular = 1e-10;  // |λ| below this share of λ_max are dropped: D is singular
constexpr double kCirculant =
    1e-9;  // what rounding may leave W off a circulant, relative to its largest entry

/// log(1 + cooc), dense on the host.
std::vector<double> log_cooccurrence(Context& ctx, const Counts& counts) {
  const CountCsr& j = counts.lags[0];
  const CountCsr reversed = ctx.linear().transpose(j.view());
  const CountCsr sum = ctx.count().add(j.view(), reversed.view());
  const auto offsets = to_host(sum.row_offsets), values = to_host(sum.values);
  const auto columns = to_host(sum.columns);
  std::vector<double> out = host_matrix(sum.rows, sum.cols);
  const HostView dense(out, sum.cols);
  for (std::int64_t i = 0; i < sum.rows; ++i)
    for (std::uint64_t e = at(offsets, i); e < at(offsets, i + 1); ++e)
      dense(i, columns[e]) = std::log1p(static_cast<double>(values[e]));
  return out;
}

/// First row of Q f(λ) Qᵀ.
Buffer<double> kernel_row(Context& ctx, ConstMatrixView d) {
  const std::int64_t n = d.rows;
  Matrix q(ctx.device(), n, n);
  Buffer<double> lambda = numbers_on(ctx.device(), n);
  ctx.linear().eigh(d, lambda.data(), q.view());
  std::vector<double> weights = to_host(lambda);
  const std::vector<double> first = to_host(ctx.device(), q.view().row_block(0, 1));
  double top = 0;
  for (const double l : weights) top = std::max(top, std::abs(l));
  for (std::size_t k = 0; k < weights.size(); ++k) {
    const double l = weights[k], size = std::abs(l);
    weights[k] =
        size > 0 && size >= kSingular * top ? std::copysign(std::pow(size, kEpsilon - 1), l) * first[k] : 0.0;
  }
  const auto w = to_device(ctx.device(), std::span(weights));
  Buffer<double> k0 = numbers_on(ctx.device(), n);
  ctx.linear().gemm(1, Op::none, q.view(), Op::none, ConstMatrixView(w.data(), n, 1), 0,
                    MatrixView(k0.data(), n, 1));
  return k0;
}

/// w_j = W_(i, i+j), averaged over i; checks that W is the circulant it has to be.
std::vector<double> circulant_row(const std::vector<double>& w, std::int64_t n) {
  std::vector<double> out = host_vector(n);
  double largest = 0, off = 0;
  const HostView all(w, n);
  const auto turned = [&](std::int64_t i, std::int64_t j) { return all(i, (i + j) % n); };
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      at(out, j) += turned(i, j) / static_cast<double>(n);
      largest = std::max(largest, std::abs(turned(i, j)));
      off = std::max(off, std::abs(turned(i, j) - turned(0, j)));
    }
  if (!(off <= kCirculant * largest))
    throw NumericError(
        fmt::format("mobius: the convolved matrix is not circulant (off by {:.1e} of {:.1e})", off, largest));
  return out;
}

/// Eigenvalues of the symmetric part of the circulant with this row; one per frequency 0..n/2.
std::vector<double> symmetric_eigenvalues(const std::vector<double>& row) {
  const auto n = static_cast<std::int64_t>(row.size());
  std::vector<double> cosine(row.size()), out;
  for (std::int64_t j = 0; j < n; ++j)
    at(cosine, j) = std::cos(2 * std::numbers::pi * static_cast<double>(j) / static_cast<double>(n));
  for (std::int64_t f = 0; f <= n / 2; ++f) {
    double sum = 0;
    for (std::int64_t j = 0; j < n; ++j) sum += at(row, j) * at(cosine, f * j % n);
    out.push_back(sum);
  }
  return out;
}

}  // namespace

Embedding embed_mobius(Context& ctx, const Counts& counts, std::int64_t d, std::uint64_t memory_bytes) {
  const std::int64_t n = counts.vocab;
  if (d < 1) throw UsageError(fmt::format("an embedding of dimension {} makes no sense", d));
  expects(!counts.lags.empty(), "counts of lag 1");
  const std::uint64_t needed = embed_mobius_memory(n, d).together();
  if (memory_bytes != 0 && needed > memory_bytes)
    throw ResourceError(
        fmt::format("the mobius embedding is dense: {} token ids need {} and {} are "
                    "allowed; use a smaller vocabulary, more memory, or ppmi-svd",
                    n, readable_bytes(needed), readable_bytes(memory_bytes)));

  const auto report = [&](int step) {
    ctx.check_interrupt();
    ctx.progress().update("embed", step, 4, static_cast<std::uint64_t>(step), "steps");
  };
  report(0);
  std::vector<double> row;
  {
    const Matrix dense = matrix_from(ctx.device(), log_cooccurrence(ctx, counts), n, n);
    report(1);
    const Buffer<double> k0 = kernel_row(ctx, dense.view());
    report(2);
    Matrix w(ctx.device(), n, n);
    ctx.linear().convolve_circulant(dense.view(), k0.data(), w.view());
    report(3);
    row = circulant_row(to_host(w.data), n);
  }
  const std::vector<double> lambda = symmetric_eigenvalues(row);
  report(4);

  std::vector<std::size_t> order(lambda.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return std::abs(lambda[a]) > std::abs(lambda[b]); });
  const double negligible = lambda.empty() ? 0 : kSingular * std::abs(lambda[order[0]]);
  std::vector<double> rows = host_matrix(n, d);
  const HostView embedding(rows, d);
  std::int64_t rank = 0;
  for (const std::size_t f : order) {
    const auto frequency = static_cast<std::int64_t>(f);
    const bool single = frequency == 0 || 2 * frequency == n;  // sin vanishes there
    const std::int64_t width = single ? 1 : 2;
    if (std::abs(lambda[f]) <= negligible) break;
    if (rank + width > d) continue;  // a pair is kept whole or not at all
    const double scale = std::sqrt(std::abs(lambda[f]) * (single ? 1.0 : 2.0) / static_cast<double>(n));
    for (std::int64_t i = 0; i < n; ++i) {
      const double angle =
          2 * std::numbers::pi * static_cast<double>(frequency * i % n) / static_cast<double>(n);
      embedding(i, rank) = static_cast<float>(scale * std::cos(angle));
      if (!single) embedding(i, rank + 1) = static_cast<float>(scale * std::sin(angle));
    }
    rank += width;
  }
  return {matrix_from(ctx.device(), rows, n, d), "mobius", rank};
}

// At the peak: D and W, and the two complex [n, n] of the transform, wherever they lie.
Peak embed_mobius_memory(std::int64_t vocab, std::int64_t d) {
  // from here on it is more than any machine has, and must not wrap to less
  const auto v = static_cast<std::uint64_t>(std::min(vocab, std::int64_t{1} << 28));
  Peak out;
  out.reach(on_device(6 * v * v * sizeof(double)));
  out.reach(on_device(matrix_bytes(vocab, d)) + on_host(matrix_bytes(vocab, d)));
  return out;
}

}  // namespace aloft
