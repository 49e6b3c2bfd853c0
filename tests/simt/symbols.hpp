#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "tests/simt/engine.hpp"

// What the running program's own symbol table says.

namespace simt {

struct SharedVariable {
  Range place;
  std::string_view scope;  ///< the function that declares it, as its statics' mangled names begin
};
/// Every static shared variable, found through the markers that __shared__ leaves behind.
[[nodiscard]] const std::vector<SharedVariable>& static_shared();
/// Those that a kernel declares itself, and their bytes.
[[nodiscard]] const std::vector<Range>& static_shared_of(const void* kernel);
[[nodiscard]] std::size_t static_shared_bytes(const void* kernel);
/// A function's name as the linker has it, "" when the program is stripped. It lives as long as the program.
[[nodiscard]] const char* mangled_name(const void* address);
/// A function's full C++ name, "?" when the program is stripped.
[[nodiscard]] std::string function_name(const void* address);

}  // namespace simt
