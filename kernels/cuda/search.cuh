#pragma once
#include <cstdint>

#include "kernels/sparse.hpp"

// Binary search by one thread, in what ascends.

namespace aloft::cuda {

/// The first i in [low, high) that is not below what is looked for, `high` if there is none; as
/// std::partition_point, but over indices. @pre below(i) holds up to some i and from there on does not
template <class Index, class Below>
__device__ Index first_not_below(Index low, Index high, Below below) {
  while (low < high) {
    const Index middle = (low + high) / 2;
    if (below(middle))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/// The row of entry e: the last that begins at or before it. offsets [rows + 1]. @pre e < offsets[rows]
__device__ inline std::int64_t row_of(const std::uint64_t* offsets, std::int64_t rows, std::uint64_t e) {
  return first_not_below(std::int64_t{0}, rows, [=](std::int64_t i) { return offsets[i + 1] <= e; });
}

/// The first entry of row i whose column is not below `column`; the row's end if there is none.
template <class T>
__device__ std::uint64_t find_column(const CsrViewOf<T>& m, std::int64_t i, std::uint32_t column) {
  return first_not_below(m.row_offsets[i], m.row_offsets[i + 1],
                         [&](std::uint64_t e) { return m.columns[e] < column; });
}
/// Whether what find_column() found is that column's entry.
template <class T>
__device__ bool is_column(const CsrViewOf<T>& m, std::int64_t i, std::uint64_t e, std::uint32_t column) {
  return e < m.row_offsets[i + 1] && m.columns[e] == column;
}

}  // namespace aloft::cuda
