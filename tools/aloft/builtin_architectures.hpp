#pragma once
#include <string>
#include <vector>

namespace aloft {

/// tools/architectures/NAME.json, compiled in by tools/cmake/EmbedArchitectures.cmake.
struct BuiltinArchitecture {
  std::string name;
  std::string json;
};
[[nodiscard]] const std::vector<BuiltinArchitecture>& builtin_architectures();

}  // namespace aloft
