#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "host/device.hpp"
#include "host/error.hpp"

namespace aloft {

/// `batch` row-major matrices [rows, cols] in device memory (batch 1: a plain matrix). Element (i, j) of item
/// b is data[b·stride + i·ld + j], ld >= cols: a block of a larger matrix is a view with the larger one's ld.
/// Where nothing else is said, rows and items lie one after the other. Trivially copyable: kernels take it by
/// value.
template <class T>
struct MatrixViewOf {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t batch = 1;
  std::int64_t ld = 0;      ///< elements from a row to the next
  std::int64_t stride = 0;  ///< elements from an item to the next

  MatrixViewOf() = default;
  MatrixViewOf(T* data_, std::int64_t rows_, std::int64_t cols_, std::int64_t batch_ = 1)
      : MatrixViewOf(data_, rows_, cols_, batch_, cols_, rows_ * cols_) {}
  MatrixViewOf(T* data_, std::int64_t rows_, std::int64_t cols_, std::int64_t batch_, std::int64_t ld_,
               std::int64_t stride_)
      : data(data_), rows(rows_), cols(cols_), batch(batch_), ld(ld_), stride(stride_) {}
  template <class U, class = std::enable_if_t<std::is_same_v<const U, T>>>
  MatrixViewOf(MatrixViewOf<U> other)  // NOLINT: a view of double reads as a view of const double
      : MatrixViewOf(other.data, other.rows, other.cols, other.batch, other.ld, other.stride) {}

  [[nodiscard]] constexpr std::int64_t size() const { return batch * rows * cols; }
  /// Nothing lies between rows, nor between items.
  [[nodiscard]] constexpr bool contiguous() const {
    return (ld == cols || rows <= 1) && (stride == rows * cols || batch <= 1);
  }
  [[nodiscard]] MatrixViewOf item(std::int64_t b) const {
    return {data + b * stride, rows, cols, 1, ld, rows * ld};
  }
  /// Rows i..i+rows_ and columns j..j+cols_ of every item.
  [[nodiscard]] MatrixViewOf block(std::int64_t i, std::int64_t j, std::int64_t rows_,
                                   std::int64_t cols_) const {
    expects(i >= 0 && j >= 0 && rows_ >= 0 && cols_ >= 0 && i + rows_ <= rows && j + cols_ <= cols,
            "a block within the matrix");
    return {data + i * ld + j, rows_, cols_, batch, ld, stride};
  }
  /// Rows i..i+count, whole.
  [[nodiscard]] MatrixViewOf row_block(std::int64_t i, std::int64_t count) const {
    return block(i, 0, count, cols);
  }
  /// Row r of all: row r % rows of item r / rows.
  [[nodiscard]] constexpr T* row(std::int64_t r) const {
    const std::int64_t b = batch == 1 ? 0 : r / rows;
    return data + b * stride + (r - b * rows) * ld;
  }
  /// Element e of all, in the order of a contiguous view: [0, size()).
  [[nodiscard]] constexpr T& element(std::int64_t e) const {
    if (contiguous()) return data[e];
    const std::int64_t r = e / cols;
    return row(r)[e - r * cols];
  }
};
using MatrixView = MatrixViewOf<double>;
using ConstMatrixView = MatrixViewOf<const double>;
using FloatView =
    MatrixViewOf<float>;  ///< where half the memory and twice the speed are worth more than digits
using ConstFloatView = MatrixViewOf<const float>;

/// Owns what a MatrixViewOf<T> shows. Uninitialised on construction.
template <class T>
struct MatrixOf {
  Buffer<T> data;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t batch = 1;

  MatrixOf() = default;
  MatrixOf(Device& device, std::int64_t rows_, std::int64_t cols_, std::int64_t batch_ = 1)
      : data(device, static_cast<std::size_t>(batch_ * rows_ * cols_)),
        rows(rows_),
        cols(cols_),
        batch(batch_) {}

  [[nodiscard]] MatrixViewOf<T> view() { return {data.data(), rows, cols, batch}; }
  [[nodiscard]] MatrixViewOf<const T> view() const { return {data.data(), rows, cols, batch}; }
  [[nodiscard]] MatrixViewOf<const T> cview() const { return {data.data(), rows, cols, batch}; }
};
using Matrix = MatrixOf<double>;
using FloatMatrix = MatrixOf<float>;

/// Bytes of a Matrix of that shape.
[[nodiscard]] constexpr std::uint64_t matrix_bytes(std::int64_t rows, std::int64_t cols,
                                                   std::int64_t batch = 1) {
  return static_cast<std::uint64_t>(batch * rows * cols) * sizeof(double);
}
/// Bytes of a FloatMatrix of that shape.
[[nodiscard]] constexpr std::uint64_t float_matrix_bytes(std::int64_t rows, std::int64_t cols,
                                                         std::int64_t batch = 1) {
  return static_cast<std::uint64_t>(batch * rows * cols) * sizeof(float);
}

/// Uploads host values [batch*rows*cols] (row-major); synchronises.
[[nodiscard]] inline Matrix matrix_from(Device& device, const std::vector<double>& host, std::int64_t rows,
                                        std::int64_t cols, std::int64_t batch = 1) {
  Matrix out(device, rows, cols, batch);
  device.upload(out.data.data(), host.data(), host.size() * sizeof(double));
  device.synchronize();
  return out;
}

/// to = from, the same shape; they do not overlap. Asynchronous.
template <class T>
void copy(Device& device, std::type_identity_t<MatrixViewOf<const T>> from, MatrixViewOf<T> to) {
  expects(from.rows == to.rows && from.cols == to.cols && from.batch == to.batch, "copy: one shape");
  const auto bytes = [](std::int64_t n) { return static_cast<std::size_t>(n) * sizeof(T); };
  if (from.contiguous() && to.contiguous()) return device.copy(to.data, from.data, bytes(to.size()));
  for (std::int64_t b = 0; b < to.batch; ++b)
    device.copy_rows(to.item(b).data, bytes(to.ld), from.item(b).data, bytes(from.ld), bytes(to.cols),
                     static_cast<std::size_t>(to.rows));
}

/// A device copy, contiguous; asynchronous.
[[nodiscard]] inline Matrix copy_of(Device& device, ConstMatrixView m) {
  Matrix out(device, m.rows, m.cols, m.batch);
  copy(device, m, out.view());
  return out;
}
template <class T>
[[nodiscard]] MatrixOf<T> copy_of(const MatrixOf<T>& m) {
  MatrixOf<T> out(m.data.device(), m.rows, m.cols, m.batch);
  copy(m.data.device(), m.view(), out.view());
  return out;
}

/// x = 0; asynchronous. Row by row where x is a block.
template <class T>
void zero(Device& device, MatrixViewOf<T> x) {
  const auto bytes = [](std::int64_t n) { return static_cast<std::size_t>(n) * sizeof(T); };
  if (x.contiguous()) return device.zero(x.data, bytes(x.size()));
  for (std::int64_t r = 0; r < x.batch * x.rows; ++r) device.zero(x.row(r), bytes(x.cols));
}

/// n numbers on the device, uninitialised.
[[nodiscard]] inline Buffer<double> numbers_on(Device& device, std::int64_t n) {
  return {device, static_cast<std::size_t>(n)};
}

}  // namespace aloft
