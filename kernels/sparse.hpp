#pragma once
#include <cstdint>

#include "host/device.hpp"

namespace aloft {

/// Compressed sparse rows in device memory: columns ascending within a row, no explicit zeros.
template <class T>
struct CsrViewOf {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  const std::uint64_t* row_offsets = nullptr;  ///< [rows + 1]
  const std::uint32_t* columns = nullptr;      ///< [nnz]
  const T* values = nullptr;                   ///< [nnz]
  std::int64_t nnz = 0;                        ///< = row_offsets[rows], known without asking the device
};

template <class T>
struct Csr {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  Buffer<std::uint64_t> row_offsets;
  Buffer<std::uint32_t> columns;
  Buffer<T> values;

  [[nodiscard]] std::int64_t nnz() const { return static_cast<std::int64_t>(columns.size()); }
  [[nodiscard]] CsrViewOf<T> view() const {
    return {rows, cols, row_offsets.data(), columns.data(), values.data(), nnz()};
  }
};

/// Bytes of a Csr of 64-bit values.
[[nodiscard]] constexpr std::uint64_t csr_bytes(std::int64_t rows, std::int64_t nnz) {
  return static_cast<std::uint64_t>(rows + 1) * sizeof(std::uint64_t) +
         static_cast<std::uint64_t>(nnz) * (sizeof(std::uint32_t) + sizeof(std::uint64_t));
}

/// Bytes of a FloatCsr.
[[nodiscard]] constexpr std::uint64_t float_csr_bytes(std::int64_t rows, std::int64_t nnz) {
  return csr_bytes(rows, nnz) - static_cast<std::uint64_t>(nnz) * (sizeof(std::uint64_t) - sizeof(float));
}

/// A copy on another device. Synchronises.
template <class T>
[[nodiscard]] Csr<T> moved(const Csr<T>& from, Device& to) {
  return {from.rows, from.cols, moved(from.row_offsets, to), moved(from.columns, to), moved(from.values, to)};
}

using CountCsr = Csr<std::uint64_t>;  ///< pairs; exact
using CountCsrView = CsrViewOf<std::uint64_t>;
using RealCsr = Csr<double>;
using RealCsrView = CsrViewOf<double>;
using FloatCsr = Csr<float>;
using FloatCsrView = CsrViewOf<float>;

}  // namespace aloft
