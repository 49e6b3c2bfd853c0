#include "kernels/sparse.hpp"

#include <omp.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "host/error.hpp"
#include "kernels/cpu/linear_ops.hpp"
#include "kernels/cpu/parallel.hpp"

// Structure of sparse matrices: transposition, sums, conversion. Everything here is exact or elementwise.

namespace aloft::cpu {
namespace {

constexpr std::int64_t kRowGrain =
    64;  // rows a worker takes at a time: large against the cost of taking them

template <class T>
Csr<T> make_csr(Device& device, std::int64_t rows, std::int64_t cols, std::size_t nnz) {
  return {rows, cols, Buffer<std::uint64_t>(device, static_cast<std::size_t>(rows) + 1),
          Buffer<std::uint32_t>(device, nnz), Buffer<T>(device, nnz)};
}

/// Rows [first, last) of part `p` of `parts`, about equally many non-zeros in each.
template <class T>
std::pair<std::int64_t, std::int64_t> part_of_rows(const CsrViewOf<T>& a, int p, int parts) {
  const std::uint64_t nnz = a.row_offsets[a.rows];
  const auto row_at = [&](int q) {
    if (q == parts) return a.rows;
    const std::uint64_t wanted = nnz / static_cast<std::uint64_t>(parts) * static_cast<std::uint64_t>(q);
    return static_cast<std::int64_t>(std::lower_bound(a.row_offsets, a.row_offsets + a.rows, wanted) -
                                     a.row_offsets);
  };
  return {p == 0 ? 0 : row_at(p), row_at(p + 1)};
}

/// Counting sort by column. Each part of the rows counts and then places its own entries, parts in row order,
/// so rows come out ascending whatever the number of parts.
template <class T>
Csr<T> transposed(Device& device, CsrViewOf<T> a) {
  const std::uint64_t nnz = a.row_offsets[a.rows];
  Csr<T> out = make_csr<T>(device, a.cols, a.rows, nnz);
  const int parts = nnz < 100'000 ? 1 : omp_get_max_threads();
  std::vector<std::vector<std::uint64_t>> next(static_cast<std::size_t>(parts));
  parallel_for(parts, [&](std::int64_t p) {
    auto& count = next[static_cast<std::size_t>(p)];
    count.assign(static_cast<std::size_t>(a.cols), 0);
    const auto [first, last] = part_of_rows(a, static_cast<int>(p), parts);
    for (std::uint64_t e = a.row_offsets[first]; e < a.row_offsets[last]; ++e) ++count[a.columns[e]];
  });
  std::uint64_t at = 0;
  for (std::int64_t c = 0; c < a.cols; ++c) {
    out.row_offsets.data()[c] = at;
    for (auto& part : next) at += std::exchange(part[static_cast<std::size_t>(c)], at);
  }
  out.row_offsets.data()[a.cols] = at;
  parallel_for(parts, [&](std::int64_t p) {
    auto& place = next[static_cast<std::size_t>(p)];
    const auto [first, last] = part_of_rows(a, static_cast<int>(p), parts);
    for (std::int64_t r = first; r < last; ++r)
      for (std::uint64_t e = a.row_offsets[r]; e < a.row_offsets[r + 1]; ++e) {
        const std::uint64_t to = place[a.columns[e]]++;
        out.columns.data()[to] = static_cast<std::uint32_t>(r);
        out.values.data()[to] = a.values[e];
      }
  });
  return out;
}

}  // namespace

CountCsr CpuLinearOps::transpose(CountCsrView a) { return transposed(device_, a); }
RealCsr CpuLinearOps::transpose(RealCsrView a) { return transposed(device_, a); }

RealCsr CpuLinearOps::to_real(CountCsrView a, const double* row_scale) {
  std::vector<std::uint64_t> offsets(static_cast<std::size_t>(a.rows) + 1);
  for (std::int64_t i = 0; i < a.rows; ++i) {  // a row scaled by 0 is empty: no explicit zeros
    const bool keep = row_scale == nullptr || row_scale[i] != 0;
    const auto r = static_cast<std::size_t>(i);
    offsets[r + 1] = offsets[r] + (keep ? a.row_offsets[i + 1] - a.row_offsets[i] : 0);
  }
  RealCsr out = make_csr<double>(device_, a.rows, a.cols, offsets.back());
  std::copy(offsets.begin(), offsets.end(), out.row_offsets.data());
  parallel_for(
      a.rows,
      [&](std::int64_t i) {
        std::uint64_t to = offsets[static_cast<std::size_t>(i)];
        if (to == offsets[static_cast<std::size_t>(i) + 1]) return;
        const double scale = row_scale == nullptr ? 1.0 : row_scale[i];
        for (std::uint64_t e = a.row_offsets[i]; e < a.row_offsets[i + 1]; ++e, ++to) {
          out.columns.data()[to] = a.columns[e];
          out.values.data()[to] = static_cast<double>(a.values[e]) * scale;
        }
      },
      kRowGrain);
  return out;
}

void CpuLinearOps::marginals(CountCsrView a, std::uint64_t* row_sums, std::uint64_t* column_sums) {
  if (row_sums != nullptr)
    parallel_for(
        a.rows,
        [&](std::int64_t i) {
          std::uint64_t sum = 0;
          for (std::uint64_t e = a.row_offsets[i]; e < a.row_offsets[i + 1]; ++e) sum += a.values[e];
          row_sums[i] = sum;
        },
        kRowGrain);
  if (column_sums == nullptr) return;
  // Integer sums are exact in any order, so each worker may have its own.
  const int parts = a.row_offsets[a.rows] < 100'000 ? 1 : omp_get_max_threads();
  std::vector<std::vector<std::uint64_t>> sums(static_cast<std::size_t>(parts));
  parallel_for(parts, [&](std::int64_t p) {
    auto& sum = sums[static_cast<std::size_t>(p)];
    sum.assign(static_cast<std::size_t>(a.cols), 0);
    const auto [first, last] = part_of_rows(a, static_cast<int>(p), parts);
    for (std::uint64_t e = a.row_offsets[first]; e < a.row_offsets[last]; ++e)
      sum[a.columns[e]] += a.values[e];
  });
  std::fill_n(column_sums, a.cols, 0);
  for (const auto& sum : sums)
    for (std::int64_t c = 0; c < a.cols; ++c) column_sums[c] += sum[static_cast<std::size_t>(c)];
}

}  // namespace aloft::cpu
