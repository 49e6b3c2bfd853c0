# The CUDA backend: host/cuda_device.cpp and kernels/cuda/, compiled into the same libraries and binary.
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
file(GLOB cuda_sources CONFIGURE_DEPENDS kernels/cuda/*.cu kernels/cuda/*.cpp)
target_sources(aloft_host PRIVATE host/cuda_device.cpp)
target_sources(aloft_kernels PRIVATE ${cuda_sources})
target_compile_definitions(aloft_kernels PUBLIC ALOFT_CUDA)
# CMake 3.25 does not know nvcc's C++20, so the flag is spelled out.
target_compile_options(aloft_options INTERFACE
  "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;--expt-relaxed-constexpr;-Werror=all-warnings;-Xcompiler=-Wall,-Wextra,-Werror>")
target_link_libraries(aloft_host PUBLIC CUDA::cudart_static CUDA::nvtx3)
target_link_libraries(aloft_kernels PUBLIC CUDA::cublas CUDA::cusolver CUDA::cusparse CUDA::cufft)
