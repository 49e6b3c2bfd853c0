#pragma once
#include <string>

// Where this build lies. Known to one file alone, so that the others compile to the same bytes in any folder.

namespace aloft {

[[nodiscard]] std::string source_folder();
[[nodiscard]] std::string built_program();        ///< aloft, without CUDA's libraries
[[nodiscard]] std::string built_whole_program();  ///< aloft with the backends that this build has
[[nodiscard]] std::string
built_simt_program();  ///< aloft with the CUDA backend that the shim executes; "": not built

}  // namespace aloft
