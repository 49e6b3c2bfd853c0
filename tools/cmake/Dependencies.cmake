# Everything the program links, as imported targets. All of it is in Debian 12 (tools/install_dependencies.sh).
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(fmt REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(PkgConfig REQUIRED)

if(NOT TARGET yaml-cpp::yaml-cpp)  # Debian 12's package names its target plainly
  add_library(yaml-cpp::yaml-cpp ALIAS yaml-cpp)
endif()

function(import_pkgconfig target module)
  string(MAKE_C_IDENTIFIER ${module} id)
  pkg_check_modules(${id} REQUIRED IMPORTED_TARGET GLOBAL ${module})
  add_library(${target} ALIAS PkgConfig::${id})
  set(${id}_VERSION ${${id}_VERSION} PARENT_SCOPE)
endfunction()
import_pkgconfig(xxhash::xxhash libxxhash)
import_pkgconfig(utf8proc::utf8proc libutf8proc)
import_pkgconfig(sentencepiece::sentencepiece sentencepiece)
import_pkgconfig(openblas::openblas openblas)
import_pkgconfig(LAPACKE::LAPACKE lapacke)

find_path(KISSFFT_INCLUDE kissfft/kissfft.hh REQUIRED)  # the C++ template is header-only and does double
add_library(kissfft_headers INTERFACE)
target_include_directories(kissfft_headers SYSTEM INTERFACE ${KISSFFT_INCLUDE})
add_library(kissfft::headers ALIAS kissfft_headers)
