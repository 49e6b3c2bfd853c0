#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "host/device.hpp"

namespace aloft {

/// `batch` row-major matrices [rows, cols] in device memory, one after the other (batch 1: a plain matrix).
/// Trivially copyable: kernels take it by value.
template <class T>
struct MatrixViewOf {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t batch = 1;

  MatrixViewOf() = default;
  MatrixViewOf(T* data_, std::int64_t rows_, std::int64_t cols_, std::int64_t batch_ = 1)
      : data(data_), rows(rows_), cols(cols_), batch(batch_) {}
  template <class U, class = std::enable_if_t<std::is_same_v<const U, T>>>
  MatrixViewOf(MatrixViewOf<U> other)  // NOLINT: a view of double reads as a view of const double
      : MatrixViewOf(other.data, other.rows, other.cols, other.batch) {}

  [[nodiscard]] std::int64_t size() const { return batch * rows * cols; }
  [[nodiscard]] MatrixViewOf item(std::int64_t b) const { return {data + b * rows * cols, rows, cols, 1}; }
};
using MatrixView = MatrixViewOf<double>;
using ConstMatrixView = MatrixViewOf<const double>;

/// Owns what a MatrixView shows. Uninitialised on construction.
struct Matrix {
  Buffer<double> data;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t batch = 1;

  Matrix() = default;
  Matrix(Device& device, std::int64_t rows_, std::int64_t cols_, std::int64_t batch_ = 1)
      : data(device, static_cast<std::size_t>(batch_ * rows_ * cols_)),
        rows(rows_),
        cols(cols_),
        batch(batch_) {}

  [[nodiscard]] MatrixView view() { return {data.data(), rows, cols, batch}; }
  [[nodiscard]] ConstMatrixView view() const { return {data.data(), rows, cols, batch}; }
  [[nodiscard]] ConstMatrixView cview() const { return {data.data(), rows, cols, batch}; }
};

/// Bytes of a Matrix of that shape.
[[nodiscard]] constexpr std::uint64_t matrix_bytes(std::int64_t rows, std::int64_t cols,
                                                   std::int64_t batch = 1) {
  return static_cast<std::uint64_t>(batch * rows * cols) * sizeof(double);
}

/// Uploads host values [batch*rows*cols] (row-major); synchronises.
[[nodiscard]] inline Matrix matrix_from(Device& device, const std::vector<double>& host, std::int64_t rows,
                                        std::int64_t cols, std::int64_t batch = 1) {
  Matrix out(device, rows, cols, batch);
  device.upload(out.data.data(), host.data(), host.size() * sizeof(double));
  device.synchronize();
  return out;
}

/// A device copy; asynchronous.
[[nodiscard]] inline Matrix copy_of(const Matrix& m) {
  Matrix out(m.data.device(), m.rows, m.cols, m.batch);
  m.data.device().copy(out.data.data(), m.data.data(), m.data.size() * sizeof(double));
  return out;
}

}  // namespace aloft
