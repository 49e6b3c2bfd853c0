#pragma once
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/sparse.hpp"

// What kernels over sparse matrices share. Rows of text are very uneven (a frequent word's row holds much of
// the vocabulary, most rows a handful), so the work is dealt by entries, not by rows.

namespace aloft::cuda {

/// The row of entry e: the largest i with offsets[i] <= e. offsets [rows + 1]. @pre e < offsets[rows]
__device__ inline std::int64_t row_of(const std::uint64_t* offsets, std::int64_t rows, std::uint64_t e) {
  std::int64_t low = 0, high = rows;  // offsets[low] <= e < offsets[high]
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    if (offsets[middle] <= e)
      low = middle;
    else
      high = middle;
  }
  return low;
}

template <class T>
[[nodiscard]] Csr<T> make_csr(Device& device, std::int64_t rows, std::int64_t cols, std::int64_t nnz) {
  return {rows, cols, Buffer<std::uint64_t>(device, static_cast<std::size_t>(rows) + 1),
          Buffer<std::uint32_t>(device, static_cast<std::size_t>(nnz)),
          Buffer<T>(device, static_cast<std::size_t>(nnz))};
}

/// One number of device memory. Synchronises.
template <class T>
[[nodiscard]] T read_one(Device& device, const T* at) {
  T out;
  device.download(&out, at, sizeof(T));
  device.synchronize();
  return out;
}

}  // namespace aloft::cuda
