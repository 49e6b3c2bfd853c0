#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>

namespace aloft::cpu {

/// A column-major scratch matrix, all zeros at first. Every column begins on a cache line, at a distance from
/// its neighbour that is an odd number of lines: columns a power of two apart would compete for the same few
/// sets of a cache. Rows and columns are padded with zeros to multiples of kPad, for kernels without edges.
class Columns {
 public:
  static constexpr std::int64_t kPad = 4;  // a vector register of doubles
  static constexpr std::int64_t padded(std::int64_t n) { return (n + kPad - 1) / kPad * kPad; }

  Columns() = default;
  Columns(std::int64_t rows, std::int64_t cols) : step_((rows + kLine - 1) / kLine * kLine) {
    if (step_ / kLine % 2 == 0) step_ += kLine;
    const auto size = static_cast<std::size_t>(step_ * padded(cols));
    data_.reset(static_cast<double*>(::operator new(size * sizeof(double), kAlignment)));
    std::fill_n(data_.get(), size, 0.0);
  }

  [[nodiscard]] double* at(std::int64_t i, std::int64_t j) const { return data_.get() + j * step_ + i; }
  /// Elements from one column to the next: LAPACK's leading dimension.
  [[nodiscard]] int step() const { return static_cast<int>(step_); }

 private:
  static constexpr std::int64_t kLine = 8;
  static constexpr std::align_val_t kAlignment{kLine * sizeof(double)};
  struct Free {
    void operator()(double* p) const { ::operator delete(p, kAlignment); }
  };

  std::int64_t step_ = kLine;
  std::unique_ptr<double, Free> data_;
};

}  // namespace aloft::cpu
