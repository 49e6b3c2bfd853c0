#include "host/cuda_check.hpp"
#include "kernels/cuda/count_kernels.cuh"
#include "kernels/cuda/sparse.cuh"

// a + b of sparse counts. An entry's place in the sum is known without merging: as many entries stand before
// it as in its own matrix, plus those of the other matrix before it that it does not share. Both come from
// binary searches and one prefix sum over b's entries (1 where a has no such entry), so every entry is
// handled by itself and rows of any length are dealt evenly; nothing is sorted.

namespace aloft::cuda {
namespace {

constexpr unsigned kWarp = 32;
constexpr unsigned kAllLanes = 0xFFFF'FFFFu;

// The first entry of row i whose column is not below `column`; the row's end if there is none.
__device__ std::uint64_t find_column(CountCsrView m, std::int64_t i, std::uint32_t column) {
  std::uint64_t low = m.row_offsets[i], high = m.row_offsets[i + 1];
  while (low < high) {
    const std::uint64_t middle = (low + high) / 2;
    if (m.columns[middle] < column)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}
__device__ bool is_column(CountCsrView m, std::int64_t i, std::uint64_t e, std::uint32_t column) {
  return e < m.row_offsets[i + 1] && m.columns[e] == column;
}

__global__ __launch_bounds__(kElementThreads) void mark_new(CountCsrView a, CountCsrView b,
                                                            std::uint64_t* is_new) {
  for (std::int64_t e = first_element(); e <= b.nnz; e += element_stride()) {
    bool in_a = true;  // nothing stands behind the last
    if (e < b.nnz) {
      const std::int64_t i = row_of(b.row_offsets, b.rows, static_cast<std::uint64_t>(e));
      in_a = is_column(a, i, find_column(a, i, b.columns[e]), b.columns[e]);
    }
    is_new[e] = !in_a;
  }
}

__global__ __launch_bounds__(kElementThreads) void sum_offsets(CountCsrView a, CountCsrView b,
                                                               const std::uint64_t* new_before,
                                                               std::uint64_t* offsets) {
  for (std::int64_t i = first_element(); i <= a.rows; i += element_stride())
    offsets[i] = a.row_offsets[i] + new_before[b.row_offsets[i]];
}

// Every entry of a, with b's share added.
__global__ __launch_bounds__(kElementThreads) void place_shared(CountCsrView a, CountCsrView b,
                                                                const std::uint64_t* new_before,
                                                                std::uint32_t* columns,
                                                                std::uint64_t* values) {
  for (std::int64_t e = first_element(); e < a.nnz; e += element_stride()) {
    const std::int64_t i = row_of(a.row_offsets, a.rows, static_cast<std::uint64_t>(e));
    const std::uint32_t column = a.columns[e];
    const std::uint64_t in_b = find_column(b, i, column);
    const std::uint64_t to = static_cast<std::uint64_t>(e) + new_before[in_b];
    columns[to] = column;
    values[to] = a.values[e] + (is_column(b, i, in_b, column) ? b.values[in_b] : 0);
  }
}

// The entries that only b has.
__global__ __launch_bounds__(kElementThreads) void place_new(CountCsrView a, CountCsrView b,
                                                             const std::uint64_t* new_before,
                                                             std::uint32_t* columns, std::uint64_t* values) {
  for (std::int64_t e = first_element(); e < b.nnz; e += element_stride()) {
    if (new_before[e + 1] == new_before[e]) continue;
    const std::int64_t i = row_of(b.row_offsets, b.rows, static_cast<std::uint64_t>(e));
    const std::uint64_t to = new_before[e] + find_column(a, i, b.columns[e]);
    columns[to] = b.columns[e];
    values[to] = b.values[e];
  }
}

__global__ __launch_bounds__(kElementThreads) void add_up(const std::uint64_t* values, std::int64_t n,
                                                          std::uint64_t* sum) {
  unsigned long long mine = 0;
  for (std::int64_t e = first_element(); e < n; e += element_stride()) mine += values[e];
  for (unsigned step = kWarp / 2; step != 0; step /= 2) mine += __shfl_down_sync(kAllLanes, mine, step);
  if (threadIdx.x % kWarp == 0) atomicAdd(reinterpret_cast<unsigned long long*>(sum), mine);
}

}  // namespace

void find_new_entries(CountCsrView a, CountCsrView b, std::uint64_t* is_new, cudaStream_t stream) {
  check(launch(mark_new, element_grid(b.nnz + 1), kElementThreads, 0, stream, a, b, is_new));
}

void merge_entries(CountCsrView a, CountCsrView b, const std::uint64_t* new_before, std::uint64_t* offsets,
                   std::uint32_t* columns, std::uint64_t* values, cudaStream_t stream) {
  check(launch(sum_offsets, element_grid(a.rows + 1), kElementThreads, 0, stream, a, b, new_before, offsets));
  if (a.nnz != 0)
    check(launch(place_shared, element_grid(a.nnz), kElementThreads, 0, stream, a, b, new_before, columns,
                 values));
  if (b.nnz != 0)
    check(launch(place_new, element_grid(b.nnz), kElementThreads, 0, stream, a, b, new_before, columns,
                 values));
}

void sum_values(const std::uint64_t* values, std::int64_t n, std::uint64_t* sum, cudaStream_t stream) {
  if (n == 0) return;
  check(launch(add_up, element_grid(n), kElementThreads, 0, stream, values, n, sum));
}

}  // namespace aloft::cuda
