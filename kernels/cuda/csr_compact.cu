#include "host/cuda_check.hpp"
#include "kernels/cuda/count_kernels.cuh"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/launch.cuh"

// A table of counters as sparse rows. One warp takes one id's row, 32 counters a step, twice: to count what
// is not zero, and, when the offsets are known, to write it. Positions within a step come from the warp's
// ballot, so columns ascend and the result is the same every time. (Rows of a table are equally long; no warp
// waits for another.)

namespace aloft::cuda {
namespace {

constexpr unsigned kWarp = 32;
constexpr unsigned kAllLanes = 0xFFFF'FFFFu;

__device__ std::int64_t first_warp() { return first_element() / kWarp; }
__device__ std::int64_t warp_stride() { return element_stride() / kWarp; }

// The counters of id i, [vocab] by rank; null when its row is not in the stripe.
__device__ const std::uint32_t* row_of_id(const DenseCounts& counts, std::int32_t lag, const TokenId* rank,
                                          std::int64_t i) {
  const std::int64_t row = (rank == nullptr ? i : std::int64_t{rank[i]}) - counts.row_begin;
  if (row < 0 || row >= counts.n_rows) return nullptr;
  return counts.data + (std::int64_t{lag - 1} * counts.n_rows + row) * counts.vocab;
}

__global__ __launch_bounds__(kElementThreads) void count_entries(DenseCounts counts, std::int32_t lag,
                                                                 const TokenId* rank,
                                                                 std::uint64_t* lengths) {
  const unsigned lane = threadIdx.x % kWarp;
  for (std::int64_t i = first_warp(); i <= counts.vocab; i += warp_stride()) {
    const std::uint32_t* const row = i < counts.vocab ? row_of_id(counts, lag, rank, i) : nullptr;
    unsigned n = 0;
    if (row != nullptr)
      for (std::int64_t j = lane; j < counts.vocab; j += kWarp) n += row[j] != 0;
    n = __reduce_add_sync(kAllLanes, n);
    if (lane == 0) lengths[i] = n;
  }
}

__global__ __launch_bounds__(kElementThreads) void write_entries(DenseCounts counts, std::int32_t lag,
                                                                 const TokenId* rank,
                                                                 const std::uint64_t* offsets,
                                                                 std::uint32_t* columns,
                                                                 std::uint64_t* values) {
  const unsigned lane = threadIdx.x % kWarp;
  const unsigned lanes_before = (1u << lane) - 1;
  for (std::int64_t i = first_warp(); i < counts.vocab; i += warp_stride()) {
    const std::uint32_t* const row = row_of_id(counts, lag, rank, i);
    if (row == nullptr) continue;  // the whole warp
    std::uint64_t at = offsets[i];
    for (std::int64_t step = 0; step < counts.vocab; step += kWarp) {
      const std::int64_t j = step + lane;
      const std::uint32_t value = j < counts.vocab ? row[rank == nullptr ? j : std::int64_t{rank[j]}] : 0;
      const unsigned found = __ballot_sync(kAllLanes, value != 0);
      if (value != 0) {
        const std::uint64_t to = at + static_cast<unsigned>(__popc(found & lanes_before));
        columns[to] = static_cast<std::uint32_t>(j);
        values[to] = value;
      }
      at += static_cast<unsigned>(__popc(found));
    }
  }
}

}  // namespace

void count_row_entries(DenseCounts counts, std::int32_t lag, const TokenId* rank, std::uint64_t* lengths,
                       cudaStream_t stream) {
  check(launch(count_entries, element_grid((counts.vocab + 1) * kWarp), kElementThreads, 0, stream, counts,
               lag, rank, lengths));
}

void write_row_entries(DenseCounts counts, std::int32_t lag, const TokenId* rank,
                       const std::uint64_t* offsets, std::uint32_t* columns, std::uint64_t* values,
                       cudaStream_t stream) {
  check(launch(write_entries, element_grid(counts.vocab * kWarp), kElementThreads, 0, stream, counts, lag,
               rank, offsets, columns, values));
}

}  // namespace aloft::cuda
