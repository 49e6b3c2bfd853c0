#pragma once
#include <string>
#include <vector>

#include "tests/simt/engine.hpp"

// What the running program's own symbol table says.

namespace simt {

/// The static shared variables that a kernel can reach, found through the markers that __shared__ leaves
/// behind: its own, and those of functions, which it may call; not those of other kernels.
[[nodiscard]] const std::vector<Range>& static_shared_within(const void* kernel);
/// Bytes of the static shared variables that a kernel declares itself.
[[nodiscard]] std::size_t static_shared_bytes(const void* kernel);
/// A function's name as the linker has it, "" when the program is stripped. It lives as long as the program.
[[nodiscard]] const char* mangled_name(const void* address);
/// A function's full C++ name, "?" when the program is stripped.
[[nodiscard]] std::string function_name(const void* address);

}  // namespace simt
