#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "host/error.hpp"

namespace aloft {

/// Row-major numbers on the host as m(i, j): a view of [rows, cols], `ld` numbers from row to row.
template <class T>
class HostView {
 public:
  HostView(T* data, std::int64_t rows, std::int64_t cols, std::int64_t ld)
      : data_(data), rows_(rows), cols_(cols), ld_(ld) {}
  HostView(T* data, std::int64_t rows, std::int64_t cols) : HostView(data, rows, cols, cols) {}
  /// All of x, as rows of `cols` numbers.
  template <class Values>
  HostView(Values& x, std::int64_t cols)
      : HostView(x.data(), static_cast<std::int64_t>(x.size()) / std::max<std::int64_t>(cols, 1), cols) {}

  [[nodiscard]] T& operator()(std::int64_t i, std::int64_t j) const { return data_[i * ld_ + j]; }
  [[nodiscard]] T* row(std::int64_t i) const { return data_ + i * ld_; }
  [[nodiscard]] std::int64_t rows() const { return rows_; }
  [[nodiscard]] std::int64_t cols() const { return cols_; }
  /// Rows i..i+rows, columns j..j+cols.
  [[nodiscard]] HostView block(std::int64_t i, std::int64_t j, std::int64_t rows, std::int64_t cols) const {
    expects(i >= 0 && j >= 0 && i + rows <= rows_ && j + cols <= cols_, "a block within the matrix");
    return {data_ + i * ld_ + j, rows, cols, ld_};
  }

 private:
  T* data_;
  std::int64_t rows_, cols_, ld_;
};

template <class Values>
HostView(Values& x, std::int64_t cols)
    -> HostView<std::remove_pointer_t<decltype(std::declval<Values&>().data())>>;

/// Zeros [rows, cols], for a HostView to look into.
[[nodiscard]] inline std::vector<double> host_matrix(std::int64_t rows, std::int64_t cols) {
  return std::vector<double>(static_cast<std::size_t>(rows * cols));
}
/// n times the same number.
[[nodiscard]] inline std::vector<double> host_vector(std::int64_t n, double value = 0) {
  return std::vector<double>(static_cast<std::size_t>(n), value);
}

/// Σ x_i² of n numbers, in order, as double.
template <class T>
[[nodiscard]] double squared_norm(const T* x, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

/// x[i] of a vector, for the signed indices that matrices have.
template <class Values>
[[nodiscard]] auto& at(Values& x, std::int64_t i) {
  return x[static_cast<std::size_t>(i)];
}

}  // namespace aloft
