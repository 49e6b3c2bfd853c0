#include "host/cuda_check.hpp"
#include "kernels/cuda/count_ops.hpp"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/sparse.hpp"
#include "kernels/cuda/warp.cuh"

// A table of counters as sparse rows. One warp takes one id's row, 32 counters a step, twice: to count what
// is not zero, and, when the offsets are known, to write it. Positions within a step come from the warp's
// ballot, so columns ascend and the result is the same every time. (Rows of a table are equally long; no warp
// waits for another.)

namespace aloft::cuda {
namespace {

// The counters of id i, [vocab] by rank; null when its row is not in the stripe.
__device__ const std::uint32_t* row_of_id(const DenseCounts& counts, std::int32_t lag, const TokenId* rank,
                                          std::int64_t i) {
  const std::int64_t row = (rank == nullptr ? i : std::int64_t{rank[i]}) - counts.row_begin;
  if (row < 0 || row >= counts.n_rows) return nullptr;
  return counts.data + (std::int64_t{lag - 1} * counts.n_rows + row) * counts.vocab;
}

/// lengths [vocab + 1]: non-zero counters of each id's row, and 0 behind the last.
__global__ __launch_bounds__(kElementThreads) void count_entries(DenseCounts counts, std::int32_t lag,
                                                                 const TokenId* rank,
                                                                 std::uint64_t* lengths) {
  for (std::int64_t i = first_warp(); i <= counts.vocab; i += warp_stride()) {
    const std::uint32_t* const row = i < counts.vocab ? row_of_id(counts, lag, rank, i) : nullptr;
    unsigned n = 0;
    if (row != nullptr)
      for (std::int64_t j = lane(); j < counts.vocab; j += kWarp) n += row[j] != 0;
    n = sum_to_lane_0(n);
    if (lane() == 0) lengths[i] = n;
  }
}

/// The entries of each row, from offsets[row] on.
__global__ __launch_bounds__(kElementThreads) void write_entries(DenseCounts counts, std::int32_t lag,
                                                                 const TokenId* rank,
                                                                 const std::uint64_t* offsets,
                                                                 std::uint32_t* columns,
                                                                 std::uint64_t* values) {
  for (std::int64_t i = first_warp(); i < counts.vocab; i += warp_stride()) {
    const std::uint32_t* const row = row_of_id(counts, lag, rank, i);
    if (row == nullptr) continue;  // the whole warp
    std::uint64_t at = offsets[i];
    for (std::int64_t step = 0; step < counts.vocab; step += kWarp) {
      const std::int64_t j = step + lane();
      const std::uint32_t value = j < counts.vocab ? row[rank == nullptr ? j : std::int64_t{rank[j]}] : 0;
      const unsigned found = lanes_where(value != 0);
      if (value != 0) {
        const std::uint64_t to = at + static_cast<unsigned>(__popc(found & lanes_before()));
        columns[to] = static_cast<std::uint32_t>(j);
        values[to] = value;
      }
      at += static_cast<unsigned>(__popc(found));
    }
  }
}

}  // namespace

CountCsr CudaCountOps::compact(DenseCounts counts, std::int32_t lag, const TokenId* rank) {
  const auto stream = device_.stream();
  const std::int64_t vocab = counts.vocab;
  Buffer<std::uint64_t> offsets(device_, static_cast<std::size_t>(vocab) + 1);
  check(launch(count_entries, element_grid((vocab + 1) * kWarp), kElementThreads, 0, stream, counts, lag,
               rank, offsets.data()));
  vendor_.exclusive_sum(offsets.data(), offsets.data(), vocab + 1);
  const std::uint64_t nnz = read_one(device_, offsets.data() + vocab);
  CountCsr out{vocab, vocab, std::move(offsets), Buffer<std::uint32_t>(device_, nnz),
               Buffer<std::uint64_t>(device_, nnz)};
  check(launch(write_entries, element_grid(vocab * kWarp), kElementThreads, 0, stream, counts, lag, rank,
               out.row_offsets.data(), out.columns.data(), out.values.data()));
  return out;
}

}  // namespace aloft::cuda
