#pragma once
#include "kernels/sparse.hpp"

// What operations on sparse matrices share on the host's side. Rows of text are very uneven (a frequent
// word's row holds much of the vocabulary, most rows a handful), so kernels deal the work by entries, not by
// rows, and look up an entry's row (search.cuh).

namespace aloft::cuda {

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
