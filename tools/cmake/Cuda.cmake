# The CUDA backend as nvcc compiles it: host/cuda_*.cpp and kernels/cuda/, in the object library that programs link.
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
file(GLOB cuda_sources CONFIGURE_DEPENDS host/cuda_*.cpp kernels/cuda/*.cu kernels/cuda/*.cpp)
target_sources(aloft_backends PRIVATE ${cuda_sources})
target_compile_definitions(aloft_backends PUBLIC ALOFT_CUDA)
if(ALOFT_WERROR)
  set(cuda_werror "-Werror=all-warnings;-Xcompiler=-Wall,-Wextra,-Werror")
else()
  set(cuda_werror "-Xcompiler=-Wall,-Wextra")
endif()
# CMake 3.25 does not know nvcc's C++20, so the flag is spelled out.
target_compile_options(aloft_options INTERFACE
  "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;--expt-relaxed-constexpr;${cuda_werror}>")
# The runtime is linked in. The mathematical libraries (half a gigabyte) are opened by the first run that uses them
# (kernels/cuda/vendor_library.hpp): where the loader finds them, or else in this toolkit.
target_link_libraries(aloft_backends PUBLIC CUDA::cudart_static CUDA::nvtx3 ${CMAKE_DL_LIBS})
set_source_files_properties(kernels/cuda/vendor_library.cpp PROPERTIES COMPILE_DEFINITIONS
  "ALOFT_CUDA_LIBRARIES=\"${CUDAToolkit_LIBRARY_DIR}\"")
