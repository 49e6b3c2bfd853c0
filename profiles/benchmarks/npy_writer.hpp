#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <type_traits>

#include "host/error.hpp"

namespace aloft::profiles {

/// Writes a one-dimensional little-endian array in NumPy's format 1.0. Throws ResourceError if that fails.
template <class T>
void write_npy(const std::filesystem::path& path, std::span<const T> values) {
  static_assert(std::is_same_v<T, std::uint32_t> || std::is_same_v<T, std::uint64_t> ||
                std::is_same_v<T, double>);
  const std::string type = std::is_floating_point_v<T> ? "<f8" : "<u" + std::to_string(sizeof(T));
  std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': (" +
                       std::to_string(values.size()) + ",), }";
  constexpr std::size_t kPreamble = 10;  // magic, version, header length
  header.resize((kPreamble + header.size() + 1 + 63) / 64 * 64 - kPreamble - 1, ' ');
  header += '\n';
  std::ofstream out(path, std::ios::binary);
  const char length[2] = {static_cast<char>(header.size() & 0xFF), static_cast<char>(header.size() >> 8)};
  out.write("\x93NUMPY\x01\x00", 8).write(length, 2) << header;
  out.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size_bytes()));
  out.close();
  if (!out) throw ResourceError(path.string() + ": cannot be written");
}

}  // namespace aloft::profiles
