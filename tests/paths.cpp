#include "tests/paths.hpp"

namespace aloft {

std::string source_folder() { return ALOFT_SOURCE_DIR; }
std::string built_program() { return ALOFT_PROGRAM; }
std::string built_whole_program() { return ALOFT_WHOLE_PROGRAM; }
std::string built_simt_program() { return ALOFT_SIMT_PROGRAM; }

}  // namespace aloft
