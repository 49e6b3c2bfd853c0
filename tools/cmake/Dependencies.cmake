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

# Libraries that pkg-config describes; the installed package looks for the same ones.
set(pkgconfig_modules libxxhash libutf8proc sentencepiece lapacke openblas)
foreach(module ${pkgconfig_modules})
  pkg_check_modules(${module} REQUIRED IMPORTED_TARGET GLOBAL ${module})
endforeach()
add_library(xxhash::xxhash ALIAS PkgConfig::libxxhash)
add_library(utf8proc::utf8proc ALIAS PkgConfig::libutf8proc)
add_library(sentencepiece::sentencepiece ALIAS PkgConfig::sentencepiece)
add_library(LAPACKE::LAPACKE ALIAS PkgConfig::lapacke)
add_library(openblas::openblas ALIAS PkgConfig::openblas)

find_path(KISSFFT_INCLUDE kissfft/kissfft.hh REQUIRED)  # the C++ template is header-only and does double
add_library(kissfft_headers INTERFACE)
target_include_directories(kissfft_headers SYSTEM INTERFACE ${KISSFFT_INCLUDE})
add_library(kissfft::headers ALIAS kissfft_headers)
