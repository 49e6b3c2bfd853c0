# Writes OUT only when it would change, so that an unchanged commit rebuilds nothing.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(commit "unknown")
endif()
set(text "// Generated.
#include \"tools/aloft/build_info.hpp\"
namespace aloft {
const BuildInfo& build_info() {
  static const BuildInfo info{\"${VERSION}\", \"${commit}\", \"${COMPILER}\", \"${TYPE}\", \"${CUDA}\", \"${ARCHITECTURES}\", \"${LIBRARIES}\"};
  return info;
}
}  // namespace aloft
")
file(CONFIGURE OUTPUT ${OUT} CONTENT "${text}" @ONLY)
