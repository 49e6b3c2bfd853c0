#include "kernels/cuda/vendor_library.hpp"

#include <cublas_v2.h>
#include <cufft.h>
#include <cusolver_common.h>
#include <cusparse.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <mutex>
#include <string>

#include "host/error.hpp"

namespace aloft::cuda {
namespace {

#define ALOFT_SONAME_TEXT(x) #x
#define ALOFT_SONAME(name, version) "lib" name ".so." ALOFT_SONAME_TEXT(version)

// The folder of the toolkit that this was built with: where the loader does not look by itself.
#ifdef ALOFT_CUDA_LIBRARIES
constexpr const char* kToolkit = ALOFT_CUDA_LIBRARIES;
#else
constexpr const char* kToolkit = "";
#endif

void* open_library(const char* file) {
  if (void* found = ::dlopen(file, RTLD_NOW | RTLD_LOCAL)) return found;
  const char* reason = ::dlerror();
  const std::string first = reason == nullptr ? "" : reason;
  if (*kToolkit != 0)
    if (void* found = ::dlopen(fmt::format("{}/{}", kToolkit, file).c_str(), RTLD_NOW | RTLD_LOCAL))
      return found;
  throw DeviceError(
      fmt::format("the CUDA backend needs {}, which cannot be loaded ({}): put its folder on "
                  "LD_LIBRARY_PATH, or use --backend cpu",
                  file, first));
}

}  // namespace

void* VendorLibrary::function(const char* name) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (handle_ == nullptr) handle_ = open_library(file_);
  if (void* at = ::dlsym(handle_, name)) return at;
  throw DeviceError(
      fmt::format("{} has no function {}: it is not the library of the CUDA toolkit that this "
                  "program was built with",
                  file_, name));
}

VendorLibrary& blas_library() {
  static VendorLibrary library(ALOFT_SONAME("cublas", CUBLAS_VER_MAJOR));
  return library;
}
VendorLibrary& sparse_library() {
  static VendorLibrary library(ALOFT_SONAME("cusparse", CUSPARSE_VER_MAJOR));
  return library;
}
VendorLibrary& solver_library() {
  static VendorLibrary library(ALOFT_SONAME("cusolver", CUSOLVER_VER_MAJOR));
  return library;
}
VendorLibrary& fft_library() {
  static VendorLibrary library(ALOFT_SONAME("cufft", CUFFT_VER_MAJOR));
  return library;
}

void open_vendor_libraries() {  // cuSOLVER's own needs first: cuBLAS and cuSPARSE
  (void)blas_library().function("cublasCreate_v2");
  (void)sparse_library().function("cusparseCreate");
  (void)solver_library().function("cusolverDnCreate");
  (void)fft_library().function("cufftCreate");
}

}  // namespace aloft::cuda
