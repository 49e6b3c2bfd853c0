#include "host/byte_size.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>

namespace aloft {

std::string readable_bytes(std::uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} byte{}", bytes, bytes == 1 ? "" : "s");
  constexpr std::array kUnits{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; value >= 1023.5 && unit + 1 < kUnits.size(); ++unit) value /= 1024;  // as rounded below
  return fmt::format("{:.{}f} {}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, kUnits[unit]);
}

std::string size_argument(std::uint64_t bytes) {
  constexpr double kMiB = 0x1p20, kGiB = 0x1p30, kMostMiB = 10'000;
  const auto size = static_cast<double>(bytes);
  if (size <= kMostMiB * kMiB) return fmt::format("{:.0f}M", std::ceil(size / kMiB));
  return fmt::format("{:.0f}G", std::ceil(size / kGiB));
}

}  // namespace aloft
