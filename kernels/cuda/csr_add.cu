#include "host/error.hpp"
#include "kernels/cuda/count_ops.hpp"
#include "kernels/cuda/each_element.cuh"
#include "kernels/cuda/search.cuh"
#include "kernels/cuda/sparse.hpp"
#include "kernels/cuda/warp.cuh"

// a + b of sparse counts. An entry's place in the sum is known without merging: as many entries come before
// it as in its own matrix, plus those of the other matrix before it that it does not share. Both come from
// binary searches and one prefix sum over b's entries (1 where a has no such entry), so every entry is
// handled by itself and rows of any length are dealt evenly; nothing is sorted.

namespace aloft::cuda {
namespace {

/// is_new [b.nnz + 1]: 1 where a has no entry in the place of b's entry, else 0; and 0 behind the last.
__device__ void mark_new(std::int64_t e, CountCsrView a, CountCsrView b, std::uint64_t* is_new) {
  bool in_a = true;  // nothing comes after the last
  if (e < b.nnz) {
    const std::int64_t i = row_of(b.row_offsets, b.rows, static_cast<std::uint64_t>(e));
    in_a = is_column(a, i, find_column(a, i, b.columns[e]), b.columns[e]);
  }
  is_new[e] = !in_a;
}

// The merged rows. new_before [b.nnz + 1]: exclusive sum of is_new. offsets [rows + 1], columns and values
// [a.nnz + new_before[b.nnz]].

__device__ void sum_offsets(std::int64_t i, CountCsrView a, CountCsrView b, const std::uint64_t* new_before,
                            std::uint64_t* offsets) {
  offsets[i] = a.row_offsets[i] + new_before[b.row_offsets[i]];
}

/// Every entry of a, with b's share added.
__device__ void place_shared(std::int64_t e, CountCsrView a, CountCsrView b, const std::uint64_t* new_before,
                             std::uint32_t* columns, std::uint64_t* values) {
  const std::int64_t i = row_of(a.row_offsets, a.rows, static_cast<std::uint64_t>(e));
  const std::uint32_t column = a.columns[e];
  const std::uint64_t in_b = find_column(b, i, column);
  const std::uint64_t to = static_cast<std::uint64_t>(e) + new_before[in_b];
  columns[to] = column;
  values[to] = a.values[e] + (is_column(b, i, in_b, column) ? b.values[in_b] : 0);
}

/// The entries that only b has.
__device__ void place_new(std::int64_t e, CountCsrView a, CountCsrView b, const std::uint64_t* new_before,
                          std::uint32_t* columns, std::uint64_t* values) {
  if (new_before[e + 1] == new_before[e]) return;
  const std::int64_t i = row_of(b.row_offsets, b.rows, static_cast<std::uint64_t>(e));
  const std::uint64_t to = new_before[e] + find_column(a, i, b.columns[e]);
  columns[to] = b.columns[e];
  values[to] = b.values[e];
}

/// *sum += Σ values[0, n)
__global__ __launch_bounds__(kElementThreads) void add_up(const std::uint64_t* values, std::int64_t n,
                                                          std::uint64_t* sum) {
  unsigned long long mine = 0;
  for (std::int64_t e = first_element(); e < n; e += element_stride()) mine += values[e];
  mine = sum_to_lane_0(mine);
  if (lane() == 0) atomicAdd(reinterpret_cast<unsigned long long*>(sum), mine);
}

}  // namespace

CountCsr CudaCountOps::add(CountCsrView a, CountCsrView b) {
  expects(a.rows == b.rows && a.cols == b.cols, "matrices of different shapes were added");
  const auto stream = device_.stream();
  Buffer<std::uint64_t> new_before(device_, static_cast<std::size_t>(b.nnz) + 1);
  std::uint64_t* const before = new_before.data();
  for_each_element<mark_new>(stream, b.nnz + 1, a, b, before);
  vendor_.exclusive_sum(before, before, b.nnz + 1);
  const auto added = static_cast<std::int64_t>(read_one(device_, before + b.nnz));
  CountCsr out = make_csr<std::uint64_t>(device_, a.rows, a.cols, a.nnz + added);
  std::uint32_t* const columns = out.columns.data();
  std::uint64_t* const values = out.values.data();
  for_each_element<sum_offsets>(stream, a.rows + 1, a, b, before, out.row_offsets.data());
  for_each_element<place_shared>(stream, a.nnz, a, b, before, columns, values);
  for_each_element<place_new>(stream, b.nnz, a, b, before, columns, values);
  return out;
}

std::uint64_t CudaCountOps::total(CountCsrView a) {
  auto sum = zeros<std::uint64_t>(device_, 1);
  if (a.nnz != 0)
    check(launch(add_up, element_grid(a.nnz), kElementThreads, 0, device_.stream(), a.values, a.nnz,
                 sum.data()));
  return read_one(device_, sum.data());
}

}  // namespace aloft::cuda
