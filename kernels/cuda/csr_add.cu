#include "host/error.hpp"
#include "kernels/cuda/count_ops.hpp"
#include "kernels/cuda/each_element.cuh"
#include "kernels/cuda/search.cuh"
#include "kernels/cuda/sparse.hpp"
#include "kernels/cuda/warp.cuh"

// a + b and a − b of sparse counts. An entry's place in the result is known without merging: as many entries
// come before it as in a, plus those before it that b brings, or minus those that b takes away. Both come
// from binary searches and one prefix sum over b's entries, so every entry is handled by itself and rows of
// any length are dealt evenly; nothing is sorted.

namespace aloft::cuda {
namespace {

// change [b.nnz + 1]: by how many entries b's entry lengthens the result, modulo 2^64; 0 behind the last.

/// 1 where a has no entry in the place of b's entry.
__device__ void mark_new(std::int64_t e, CountCsrView a, CountCsrView b, std::uint64_t* change) {
  bool in_a = true;  // nothing comes after the last
  if (e < b.nnz) {
    const std::int64_t i = row_of(b.row_offsets, b.rows, static_cast<std::uint64_t>(e));
    in_a = is_column(a, i, find_column(a, i, b.columns[e]), b.columns[e]);
  }
  change[e] = !in_a;
}

constexpr std::uint64_t kMinusOne = ~std::uint64_t{0};

/// −1 where b's entry takes all of a's. *too_large += the entries of b that are larger, or that a lacks.
__device__ void mark_gone(std::int64_t e, CountCsrView a, CountCsrView b, std::uint64_t* change,
                          std::uint64_t* too_large) {
  std::uint64_t by = 0;
  if (e < b.nnz) {
    const std::int64_t i = row_of(b.row_offsets, b.rows, static_cast<std::uint64_t>(e));
    const std::uint64_t in_a = find_column(a, i, b.columns[e]);
    const std::uint64_t have = is_column(a, i, in_a, b.columns[e]) ? a.values[in_a] : 0;
    if (have < b.values[e]) atomicAdd(reinterpret_cast<unsigned long long*>(too_large), 1ULL);
    if (have == b.values[e]) by = kMinusOne;
  }
  change[e] = by;
}

// The rows of the result. before [b.nnz + 1]: exclusive sum of change. offsets [rows + 1], columns and values
// [a.nnz + before[b.nnz]].

__device__ void sum_offsets(std::int64_t i, CountCsrView a, CountCsrView b, const std::uint64_t* before,
                            std::uint64_t* offsets) {
  offsets[i] = a.row_offsets[i] + before[b.row_offsets[i]];
}

/// Every entry of a with sign times b's share, 1 or −1, unless nothing is left of it.
__device__ void place_shared(std::int64_t e, CountCsrView a, CountCsrView b, std::uint64_t sign,
                             const std::uint64_t* before, std::uint32_t* columns, std::uint64_t* values) {
  const std::int64_t i = row_of(a.row_offsets, a.rows, static_cast<std::uint64_t>(e));
  const std::uint32_t column = a.columns[e];
  const std::uint64_t in_b = find_column(b, i, column);
  const std::uint64_t value = a.values[e] + sign * (is_column(b, i, in_b, column) ? b.values[in_b] : 0);
  if (value == 0) return;
  const std::uint64_t to = static_cast<std::uint64_t>(e) + before[in_b];
  columns[to] = column;
  values[to] = value;
}

/// The entries that only b has.
__device__ void place_new(std::int64_t e, CountCsrView a, CountCsrView b, const std::uint64_t* before,
                          std::uint32_t* columns, std::uint64_t* values) {
  if (before[e + 1] == before[e]) return;
  const std::int64_t i = row_of(b.row_offsets, b.rows, static_cast<std::uint64_t>(e));
  const std::uint64_t to = before[e] + find_column(a, i, b.columns[e]);
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

/// The result with a's entries in their places; `added` entries more than a, or fewer.
CountCsr place_rows(Device& device, cudaStream_t stream, CountCsrView a, CountCsrView b, std::uint64_t sign,
                    const std::uint64_t* before, std::int64_t added) {
  CountCsr out = make_csr<std::uint64_t>(device, a.rows, a.cols, a.nnz + added);
  for_each_element<sum_offsets>(stream, a.rows + 1, a, b, before, out.row_offsets.data());
  for_each_element<place_shared>(stream, a.nnz, a, b, sign, before, out.columns.data(), out.values.data());
  return out;
}

}  // namespace

CountCsr CudaCountOps::add(CountCsrView a, CountCsrView b) {
  expects(a.rows == b.rows && a.cols == b.cols, "matrices of different shapes were added");
  const auto stream = device_.stream();
  Buffer<std::uint64_t> change(device_, static_cast<std::size_t>(b.nnz) + 1);
  std::uint64_t* const before = change.data();
  for_each_element<mark_new>(stream, b.nnz + 1, a, b, before);
  vendor_.exclusive_sum(before, before, b.nnz + 1);
  const auto added = static_cast<std::int64_t>(read_one(device_, before + b.nnz));
  CountCsr out = place_rows(device_, stream, a, b, 1, before, added);
  for_each_element<place_new>(stream, b.nnz, a, b, before, out.columns.data(), out.values.data());
  return out;
}

CountCsr CudaCountOps::subtract(CountCsrView a, CountCsrView b) {
  expects(a.rows == b.rows && a.cols == b.cols, "matrices of different shapes were subtracted");
  const auto stream = device_.stream();
  auto too_large = zeros<std::uint64_t>(device_, 1);
  Buffer<std::uint64_t> change(device_, static_cast<std::size_t>(b.nnz) + 1);
  std::uint64_t* const before = change.data();
  for_each_element<mark_gone>(stream, b.nnz + 1, a, b, before, too_large.data());
  if (read_one(device_, too_large.data()) != 0)
    throw InputError("counts to subtract are not part of those they are subtracted from");
  vendor_.exclusive_sum(before, before, b.nnz + 1);
  const auto added = static_cast<std::int64_t>(read_one(device_, before + b.nnz));
  return place_rows(device_, stream, a, b, kMinusOne, before, added);
}

std::uint64_t CudaCountOps::total(CountCsrView a) {
  auto sum = zeros<std::uint64_t>(device_, 1);
  if (a.nnz != 0)
    check(launch(add_up, element_grid(a.nnz), kElementThreads, 0, device_.stream(), a.values, a.nnz,
                 sum.data()));
  return read_one(device_, sum.data());
}

}  // namespace aloft::cuda
