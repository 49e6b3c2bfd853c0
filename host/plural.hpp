#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace aloft {

/// "1 file", "2 files".
[[nodiscard]] inline std::string counted(std::uint64_t n, std::string_view noun) {
  return std::to_string(n) + " " + std::string(noun) + (n == 1 ? "" : "s");
}

}  // namespace aloft
