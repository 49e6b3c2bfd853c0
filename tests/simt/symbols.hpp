#pragma once
#include <string>
#include <vector>

#include "tests/simt/engine.hpp"

// What the running program's own symbol table says.

namespace simt {

/// Every static shared variable, found through the markers that __shared__ leaves behind.
[[nodiscard]] std::vector<Range> find_static_shared();
/// A function's full C++ name, "?" when the program is stripped.
[[nodiscard]] std::string function_name(const void* address);

}  // namespace simt
