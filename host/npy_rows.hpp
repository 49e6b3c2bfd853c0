#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "host/npy.hpp"

namespace aloft {

/// A .npy file's 2-D float matrix (little-endian float32 or float64, C or Fortran order), read some rows at a
/// time. Must be a file, not a pipe. Throws InputError for anything else.
class NpyRows {
 public:
  explicit NpyRows(const std::string& path);
  ~NpyRows();
  NpyRows(const NpyRows&) = delete;
  NpyRows& operator=(const NpyRows&) = delete;

  [[nodiscard]] std::int64_t rows() const { return header_.shape[0]; }
  [[nodiscard]] std::int64_t cols() const { return header_.shape[1]; }
  /// Rows first.. of the matrix into `out`, [rows, cols] row-major: as many as it holds.
  void read(std::int64_t first, std::span<double> out) const;

 private:
  /// `n` numbers from element `at` of the file, `stride` numbers apart in `out`.
  void read_run(std::uint64_t at, std::size_t n, double* out, std::size_t stride) const;

  std::string path_;
  NpyHeader header_;
  int file_ = -1;
};

}  // namespace aloft
