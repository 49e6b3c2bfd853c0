#include "kernels/cuda/sparse.cuh"

#include <bit>

#include "host/cuda_check.hpp"
#include "kernels/cuda/linear_ops.hpp"

// Structure of sparse matrices: transposition, sums, conversion. Everything here is exact or elementwise.

namespace aloft::cuda {
namespace {

constexpr int kWarp = 32;

// ---- transposition: entries sorted by column. The sort is stable, so rows stay ascending within a column.

/// keys[e] = column of entry e in the upper half, its row in the lower.
template <class T>
__global__ __launch_bounds__(kElementThreads) void key_by_column(CsrViewOf<T> a, std::uint64_t* keys) {
  for (std::int64_t e = first_element(); e < a.nnz; e += element_stride())
    keys[e] = std::uint64_t{a.columns[e]} << 32 |
              static_cast<std::uint64_t>(row_of(a.row_offsets, a.rows, static_cast<std::uint64_t>(e)));
}

/// columns[t] = lower half of keys[t], t in [0, nnz).
__global__ __launch_bounds__(kElementThreads) void take_rows(const std::uint64_t* keys, std::int64_t nnz,
                                                             std::uint32_t* columns) {
  for (std::int64_t t = first_element(); t < nnz; t += element_stride())
    columns[t] = static_cast<std::uint32_t>(keys[t]);
}

/// offsets[c] = number of sorted keys whose upper half is below c, c in [0, cols].
__global__ __launch_bounds__(kElementThreads) void offsets_of_sorted(const std::uint64_t* keys,
                                                                     std::int64_t nnz, std::int64_t cols,
                                                                     std::uint64_t* offsets) {
  for (std::int64_t c = first_element(); c <= cols; c += element_stride()) {
    std::int64_t low = 0, high = nnz;
    while (low < high) {
      const std::int64_t middle = (low + high) / 2;
      if (static_cast<std::int64_t>(keys[middle] >> 32) < c)
        low = middle + 1;
      else
        high = middle;
    }
    offsets[c] = static_cast<std::uint64_t>(low);
  }
}

template <class T>
Csr<T> transposed(CudaDevice& device, Vendor& vendor, CsrViewOf<T> a) {
  static_assert(sizeof(T) == sizeof(std::uint64_t), "values travel through the sort as 64 bits");
  expects(a.rows < std::int64_t{1} << 32, "transpose: rows become 32-bit columns");
  Csr<T> out = make_csr<T>(device, a.cols, a.rows, a.nnz);
  const auto stream = device.stream();
  Buffer<std::uint64_t> keys(device, static_cast<std::size_t>(a.nnz)),
      sorted(device, static_cast<std::size_t>(a.nnz));
  if (a.nnz != 0) {
    check(launch(key_by_column<T>, element_grid(a.nnz), kElementThreads, 0, stream, a, keys.data()));
    const int width = std::bit_width(static_cast<std::uint64_t>(a.cols - 1));
    vendor.sort_pairs(keys.data(), sorted.data(), reinterpret_cast<const std::uint64_t*>(a.values),
                      reinterpret_cast<std::uint64_t*>(out.values.data()), a.nnz, 32,
                      32 + std::max(1, width));
    check(launch(take_rows, element_grid(a.nnz), kElementThreads, 0, stream, sorted.data(), a.nnz,
                 out.columns.data()));
  }
  check(launch(offsets_of_sorted, element_grid(a.cols + 1), kElementThreads, 0, stream, sorted.data(), a.nnz,
               a.cols, out.row_offsets.data()));
  return out;
}

// ---- conversion

/// lengths[i] = entries of row i, or 0 where its scale is; lengths[rows] = 0.
__global__ __launch_bounds__(kElementThreads) void kept_lengths(const std::uint64_t* offsets,
                                                                std::int64_t rows, const double* row_scale,
                                                                std::uint64_t* lengths) {
  for (std::int64_t i = first_element(); i <= rows; i += element_stride())
    lengths[i] = i < rows && row_scale[i] != 0 ? offsets[i + 1] - offsets[i] : 0;
}

/// The kept rows of a, scaled, at out_offsets. row_scale null: 1 everywhere.
__global__ __launch_bounds__(kElementThreads) void scale_rows(CountCsrView a, const double* row_scale,
                                                              const std::uint64_t* out_offsets,
                                                              std::uint32_t* columns, double* values) {
  for (std::int64_t e = first_element(); e < a.nnz; e += element_stride()) {
    const auto entry = static_cast<std::uint64_t>(e);
    const std::int64_t i = row_of(a.row_offsets, a.rows, entry);
    const double scale = row_scale == nullptr ? 1.0 : row_scale[i];
    if (scale == 0) continue;
    const std::uint64_t to = out_offsets[i] + (entry - a.row_offsets[i]);
    columns[to] = a.columns[e];
    values[to] = static_cast<double>(a.values[e]) * scale;
  }
}

// ---- sums

__global__ __launch_bounds__(kElementThreads) void sum_rows_by_warp(CountCsrView a, std::uint64_t* sums) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (std::int64_t i = first_element() / kWarp; i < a.rows; i += element_stride() / kWarp) {
    unsigned long long sum = 0;
    for (std::uint64_t e = a.row_offsets[i] + static_cast<unsigned>(lane); e < a.row_offsets[i + 1];
         e += kWarp)
      sum += a.values[e];
    for (int step = kWarp / 2; step > 0; step /= 2) sum += __shfl_down_sync(~0u, sum, step);
    if (lane == 0) sums[i] = sum;
  }
}

// Integer sums are exact in any order, so atomics will do.
__global__ __launch_bounds__(kElementThreads) void sum_columns_atomic(CountCsrView a, std::uint64_t* sums) {
  static_assert(sizeof(unsigned long long) == sizeof(std::uint64_t));
  for (std::int64_t e = first_element(); e < a.nnz; e += element_stride())
    atomicAdd(reinterpret_cast<unsigned long long*>(&sums[a.columns[e]]),
              static_cast<unsigned long long>(a.values[e]));
}

}  // namespace

CountCsr CudaLinearOps::transpose(CountCsrView a) { return transposed(device_, vendor_, a); }
RealCsr CudaLinearOps::transpose(RealCsrView a) { return transposed(device_, vendor_, a); }

RealCsr CudaLinearOps::to_real(CountCsrView a, const double* row_scale) {
  const auto rows = static_cast<std::size_t>(a.rows);
  Buffer<std::uint64_t> offsets(device_, rows + 1);
  std::int64_t nnz = a.nnz;
  if (row_scale == nullptr) {
    device_.copy(offsets.data(), a.row_offsets, offsets.size() * sizeof(std::uint64_t));
  } else {  // a row scaled by 0 is empty: no explicit zeros
    check(launch(kept_lengths, element_grid(a.rows + 1), kElementThreads, 0, device_.stream(), a.row_offsets,
                 a.rows, row_scale, offsets.data()));
    vendor_.exclusive_sum(offsets.data(), offsets.data(), a.rows + 1);
    nnz = static_cast<std::int64_t>(read_one(device_, offsets.data() + a.rows));
  }
  RealCsr out{a.rows, a.cols, std::move(offsets),
              Buffer<std::uint32_t>(device_, static_cast<std::size_t>(nnz)),
              Buffer<double>(device_, static_cast<std::size_t>(nnz))};
  if (nnz != 0)
    check(launch(scale_rows, element_grid(a.nnz), kElementThreads, 0, device_.stream(), a, row_scale,
                 out.row_offsets.data(), out.columns.data(), out.values.data()));
  return out;
}

void CudaLinearOps::marginals(CountCsrView a, std::uint64_t* row_sums, std::uint64_t* column_sums) {
  if (row_sums != nullptr && a.rows != 0)
    check(launch(sum_rows_by_warp, element_grid(a.rows * kWarp), kElementThreads, 0, device_.stream(), a,
                 row_sums));
  if (column_sums == nullptr) return;
  device_.zero(column_sums, static_cast<std::size_t>(a.cols) * sizeof(std::uint64_t));
  if (a.nnz != 0)
    check(launch(sum_columns_atomic, element_grid(a.nnz), kElementThreads, 0, device_.stream(), a,
                 column_sums));
}

}  // namespace aloft::cuda
