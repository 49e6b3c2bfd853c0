# What `aloft --version` says of the build. The commit is read at build time, so it is right after every commit.
if(ALOFT_CUDA)
  set(build_cuda "CUDA ${CMAKE_CUDA_COMPILER_VERSION}")
  string(REPLACE ";" " " build_architectures "${CMAKE_CUDA_ARCHITECTURES}")
else()
  set(build_cuda "none")
  set(build_architectures "")
endif()
set(build_compiler "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
string(CONCAT build_libraries "CLI11 ${CLI11_VERSION}, fmt ${fmt_VERSION}, nlohmann-json ${nlohmann_json_VERSION}, "
  "yaml-cpp ${yaml-cpp_VERSION}, OpenBLAS ${openblas_VERSION}, LAPACKE ${lapacke_VERSION}, xxHash ${libxxhash_VERSION}, "
  "utf8proc ${libutf8proc_VERSION}, SentencePiece ${sentencepiece_VERSION}")
set(build_info ${PROJECT_BINARY_DIR}/generated/build_info.cpp)
add_custom_target(aloft_build_info
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DOUT=${build_info} -DVERSION=${PROJECT_VERSION}
    "-DCOMPILER=${build_compiler}" "-DTYPE=${CMAKE_BUILD_TYPE}" "-DCUDA=${build_cuda}" "-DARCHITECTURES=${build_architectures}"
    "-DLIBRARIES=${build_libraries}"
    -P ${PROJECT_SOURCE_DIR}/tools/cmake/write_build_info.cmake
  BYPRODUCTS ${build_info} VERBATIM)
add_dependencies(aloft_tool aloft_build_info)
target_sources(aloft_tool PRIVATE ${build_info})
