#pragma once
#include <string>
#include <vector>

#include "tests/simt/engine.hpp"

// What the running program's own symbol table says.

namespace simt {

/// Every static shared variable, found through the markers that __shared__ leaves behind.
[[nodiscard]] std::vector<Range> find_static_shared();
/// Bytes of the static shared variables that a kernel declares itself.
[[nodiscard]] std::size_t static_shared_bytes(const void* kernel);
/// A function's name as the linker has it, "" when the program is stripped. It lives as long as the program.
[[nodiscard]] const std::string& mangled_name(const void* address);
/// A function's full C++ name, "?" when the program is stripped.
[[nodiscard]] std::string function_name(const void* address);

}  // namespace simt
