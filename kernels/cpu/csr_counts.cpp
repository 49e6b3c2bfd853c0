#include <algorithm>
#include <atomic>

#include "host/error.hpp"
#include "kernels/cpu/count_ops.hpp"

namespace aloft::cpu {
namespace {

// Rows are counted, offsets summed, then filled: `row(i, columns, counts)` writes row i (null pointers: only
// counts) and returns its length.
template <class Row>
CountCsr build_rows(Device& device, std::int64_t rows, std::int64_t cols, const Row& row) {
  CountCsr out;
  out.rows = rows;
  out.cols = cols;
  out.row_offsets = Buffer<std::uint64_t>(device, static_cast<std::size_t>(rows + 1));
  std::uint64_t* const offsets = out.row_offsets.data();
  offsets[0] = 0;
#pragma omp parallel for schedule(dynamic, 64)
  for (std::int64_t i = 0; i < rows; ++i)
    offsets[i + 1] = static_cast<std::uint64_t>(row(i, nullptr, nullptr));
  for (std::int64_t i = 0; i < rows; ++i) offsets[i + 1] += offsets[i];
  out.columns = Buffer<std::uint32_t>(device, offsets[rows]);
  out.values = Buffer<std::uint64_t>(device, offsets[rows]);
#pragma omp parallel for schedule(dynamic, 64)
  for (std::int64_t i = 0; i < rows; ++i)
    (void)row(i, out.columns.data() + offsets[i], out.values.data() + offsets[i]);
  return out;
}

}  // namespace

CountCsr CpuCountOps::compact(DenseCounts counts, std::int32_t lag, const TokenId* rank) {
  const std::uint32_t* const table = counts.data + (lag - 1) * counts.n_rows * counts.vocab;
  return build_rows(device_, counts.vocab, counts.vocab,
                    [&](std::int64_t i, std::uint32_t* columns, std::uint64_t* values) -> std::int64_t {
                      const std::int64_t r = (rank == nullptr ? i : rank[i]) - counts.row_begin;
                      if (r < 0 || r >= counts.n_rows) return 0;
                      const std::uint32_t* const row = table + r * counts.vocab;
                      if (columns == nullptr) return counts.vocab - std::count(row, row + counts.vocab, 0u);
                      std::int64_t n = 0;
                      for (std::int64_t j = 0; j < counts.vocab; ++j) {
                        const std::uint32_t value = row[rank == nullptr ? j : rank[j]];
                        if (value == 0) continue;
                        columns[n] = static_cast<std::uint32_t>(j);
                        values[n++] = value;
                      }
                      return n;
                    });
}

CountCsr CpuCountOps::add(CountCsrView a, CountCsrView b) {
  expects(a.rows == b.rows && a.cols == b.cols, "matrices of different shapes were added");
  return build_rows(device_, a.rows, a.cols,
                    [&](std::int64_t i, std::uint32_t* columns, std::uint64_t* values) -> std::int64_t {
                      std::uint64_t p = a.row_offsets[i], q = b.row_offsets[i];
                      const std::uint64_t p_end = a.row_offsets[i + 1], q_end = b.row_offsets[i + 1];
                      std::int64_t n = 0;
                      while (p < p_end || q < q_end) {
                        const bool from_a = q == q_end || (p < p_end && a.columns[p] <= b.columns[q]);
                        const bool from_b = p == p_end || (q < q_end && b.columns[q] <= a.columns[p]);
                        if (columns != nullptr) {
                          columns[n] = from_a ? a.columns[p] : b.columns[q];
                          values[n] = (from_a ? a.values[p] : 0) + (from_b ? b.values[q] : 0);
                        }
                        p += from_a;
                        q += from_b;
                        ++n;
                      }
                      return n;
                    });
}

CountCsr CpuCountOps::subtract(CountCsrView a, CountCsrView b) {
  expects(a.rows == b.rows && a.cols == b.cols, "matrices of different shapes were subtracted");
  std::atomic<bool> too_large = false;
  CountCsr out = build_rows(
      device_, a.rows, a.cols,
      [&](std::int64_t i, std::uint32_t* columns, std::uint64_t* values) -> std::int64_t {
        std::uint64_t p = a.row_offsets[i];
        const std::uint64_t p_end = a.row_offsets[i + 1];
        std::int64_t n = 0;
        const auto keep = [&](std::uint64_t end) {  // entries of a alone, up to there
          if (columns != nullptr) {
            std::copy(a.columns + p, a.columns + end, columns + n);
            std::copy(a.values + p, a.values + end, values + n);
          }
          n += static_cast<std::int64_t>(end - p);
          p = end;
        };
        for (std::uint64_t q = b.row_offsets[i]; q < b.row_offsets[i + 1]; ++q) {
          const std::uint32_t* const found = std::lower_bound(a.columns + p, a.columns + p_end, b.columns[q]);
          keep(static_cast<std::uint64_t>(found - a.columns));
          if (p == p_end || *found != b.columns[q] || a.values[p] < b.values[q]) {
            too_large = true;
            return n;
          }
          if (a.values[p] != b.values[q]) {
            if (columns != nullptr) {
              columns[n] = *found;
              values[n] = a.values[p] - b.values[q];
            }
            ++n;
          }
          ++p;
        }
        keep(p_end);
        return n;
      });
  if (too_large) throw InputError("counts to subtract are not part of those they are subtracted from");
  return out;
}

std::uint64_t CpuCountOps::total(CountCsrView a) {
  const auto nnz = static_cast<std::int64_t>(a.row_offsets[a.rows]);
  std::uint64_t sum = 0;
#pragma omp parallel for reduction(+ : sum)
  for (std::int64_t p = 0; p < nnz; ++p) sum += a.values[p];
  return sum;
}

}  // namespace aloft::cpu
