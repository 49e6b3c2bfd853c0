#include "kernels/cuda/sparse.hpp"

#include <bit>

#include "host/error.hpp"
#include "kernels/cuda/each_element.cuh"
#include "kernels/cuda/linear_ops.hpp"
#include "kernels/cuda/search.cuh"
#include "kernels/cuda/warp.cuh"

// Structure of sparse matrices: transposition, sums, conversion. Everything here is exact or elementwise.

namespace aloft::cuda {
namespace {

// ---- transposition: entries sorted by column. The sort is stable, so rows stay ascending within a column.

/// keys[e] = column of entry e in the upper half, its row in the lower.
template <class T>
__device__ void key_by_column(std::int64_t e, CsrViewOf<T> a, std::uint64_t* keys) {
  keys[e] = std::uint64_t{a.columns[e]} << 32 |
            static_cast<std::uint64_t>(row_of(a.row_offsets, a.rows, static_cast<std::uint64_t>(e)));
}

/// columns[t] = lower half of keys[t].
__device__ void take_row(std::int64_t t, const std::uint64_t* keys, std::uint32_t* columns) {
  columns[t] = static_cast<std::uint32_t>(keys[t]);
}

/// offsets[c] = number of sorted keys [nnz] whose upper half is below c.
__device__ void offset_of_sorted(std::int64_t c, const std::uint64_t* keys, std::int64_t nnz,
                                 std::uint64_t* offsets) {
  offsets[c] = static_cast<std::uint64_t>(first_not_below(
      std::int64_t{0}, nnz, [=](std::int64_t t) { return static_cast<std::int64_t>(keys[t] >> 32) < c; }));
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
    for_each_element<key_by_column<T>>(stream, a.nnz, a, keys.data());
    const int width = std::bit_width(static_cast<std::uint64_t>(a.cols - 1));
    vendor.sort_pairs(keys.data(), sorted.data(), reinterpret_cast<const std::uint64_t*>(a.values),
                      reinterpret_cast<std::uint64_t*>(out.values.data()), a.nnz, 32,
                      32 + std::max(1, width));
    for_each_element<take_row>(stream, a.nnz, sorted.data(), out.columns.data());
  }
  for_each_element<offset_of_sorted>(stream, a.cols + 1, sorted.data(), a.nnz, out.row_offsets.data());
  return out;
}

// ---- conversion

/// lengths[i] = entries of row i, or 0 where its scale is; lengths[rows] = 0.
__device__ void kept_length(std::int64_t i, const std::uint64_t* offsets, std::int64_t rows,
                            const double* row_scale, std::uint64_t* lengths) {
  lengths[i] = i < rows && row_scale[i] != 0 ? offsets[i + 1] - offsets[i] : 0;
}

/// The kept rows of a, scaled, at out_offsets. row_scale null: 1 everywhere.
__device__ void scale_entry(std::int64_t e, CountCsrView a, const double* row_scale,
                            const std::uint64_t* out_offsets, std::uint32_t* columns, double* values) {
  const auto entry = static_cast<std::uint64_t>(e);
  const std::int64_t i = row_of(a.row_offsets, a.rows, entry);
  const double scale = row_scale == nullptr ? 1.0 : row_scale[i];
  if (scale == 0) return;
  const std::uint64_t to = out_offsets[i] + (entry - a.row_offsets[i]);
  columns[to] = a.columns[e];
  values[to] = static_cast<double>(a.values[e]) * scale;
}

// ---- sums

__global__ __launch_bounds__(kElementThreads) void sum_rows_by_warp(CountCsrView a, std::uint64_t* sums) {
  for (std::int64_t i = first_warp(); i < a.rows; i += warp_stride()) {
    unsigned long long sum = 0;
    for (std::uint64_t e = a.row_offsets[i] + lane(); e < a.row_offsets[i + 1]; e += kWarp)
      sum += a.values[e];
    sum = sum_to_lane_0(sum);
    if (lane() == 0) sums[i] = sum;
  }
}

/// Integer sums are exact in any order, so atomics will do.
__device__ void add_to_column(std::int64_t e, CountCsrView a, std::uint64_t* sums) {
  static_assert(sizeof(unsigned long long) == sizeof(std::uint64_t));
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
    for_each_element<kept_length>(device_.stream(), a.rows + 1, a.row_offsets, a.rows, row_scale,
                                  offsets.data());
    vendor_.exclusive_sum(offsets.data(), offsets.data(), a.rows + 1);
    nnz = static_cast<std::int64_t>(read_one(device_, offsets.data() + a.rows));
  }
  RealCsr out{a.rows, a.cols, std::move(offsets),
              Buffer<std::uint32_t>(device_, static_cast<std::size_t>(nnz)),
              Buffer<double>(device_, static_cast<std::size_t>(nnz))};
  if (nnz != 0)
    for_each_element<scale_entry>(device_.stream(), a.nnz, a, row_scale, out.row_offsets.data(),
                                  out.columns.data(), out.values.data());
  return out;
}

void CudaLinearOps::marginals(CountCsrView a, std::uint64_t* row_sums, std::uint64_t* column_sums) {
  if (row_sums != nullptr && a.rows != 0)
    check(launch(sum_rows_by_warp, element_grid(a.rows * kWarp), kElementThreads, 0, device_.stream(), a,
                 row_sums));
  if (column_sums == nullptr) return;
  device_.zero(column_sums, static_cast<std::size_t>(a.cols) * sizeof(std::uint64_t));
  for_each_element<add_to_column>(device_.stream(), a.nnz, a, column_sums);
}

}  // namespace aloft::cuda
