#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace aloft {

/// What the header of a .npy file (format versions 1 to 3) says. Source: NumPy's "NEP 1" and
/// numpy.lib.format.
struct NpyHeader {
  std::string dtype;  ///< as written, e.g. "<u2"
  char kind = 0;      ///< 'u', 'i', 'f', 'b', 'c'
  int item_bytes = 0;
  bool big_endian = false;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
  std::uint64_t data_offset = 0;  ///< bytes before the data

  [[nodiscard]] std::uint64_t elements() const;  ///< product of shape (1 for a scalar)
  [[nodiscard]] std::string shape_text() const;  ///< "(3, 4)"
};

[[nodiscard]] bool has_npy_magic(std::string_view head);

/// Parses `head` (the file's beginning) and checks the announced data against `file_bytes` (0: unknown, not
/// checked). Throws InputError naming `name` and the defect.
[[nodiscard]] NpyHeader parse_npy_header(std::string_view head, const std::string& name,
                                         std::uint64_t file_bytes);

}  // namespace aloft
