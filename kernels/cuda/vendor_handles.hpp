#pragma once
#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cufft.h>
#include <cusolverDn.h>
#include <cusparse.h>

#include "host/cuda_check.hpp"
#include "kernels/cuda/vendor.hpp"
#include "kernels/cuda/vendor_library.hpp"

// For the real bodies of Vendor (vendor_*.{cpp,cu}) only: library handles, and statuses turned into errors.

namespace aloft {

/// Throws what a library's status means, naming the caller's line: ResourceError when memory ran out,
/// otherwise DeviceError.
void check(cublasStatus_t status, const char* file = __builtin_FILE(), int line = __builtin_LINE());
void check(cusparseStatus_t status, const char* file = __builtin_FILE(), int line = __builtin_LINE());
void check(cusolverStatus_t status, const char* file = __builtin_FILE(), int line = __builtin_LINE());
void check(cufftResult status, const char* file = __builtin_FILE(), int line = __builtin_LINE());

/// After each call of a library: with ALOFT_CUDA_SYNC=1, waits for it; throws DeviceError naming it if it
/// failed.
inline void queued(const char* call, cudaStream_t stream) {
  if (cuda_sync) wait_for(call, cudaSuccess, stream);
}

namespace cuda {

/// Made when first asked for, since each costs device memory and start-up time, and bound to the device's
/// stream. Scalars (alpha, beta) are read on the host. cuFFT has no handle but plans, made per call.
struct Vendor::Handles {
  explicit Handles(cudaStream_t on) : stream(on) {}
  ~Handles();  ///< never throws: a library that refuses to let go is left alone
  Handles(const Handles&) = delete;
  Handles& operator=(const Handles&) = delete;

  [[nodiscard]] cublasHandle_t blas();
  [[nodiscard]] cusparseHandle_t sparse();
  [[nodiscard]] cusolverDnHandle_t solver();
  [[nodiscard]] cusolverDnParams_t solver_params();

  cudaStream_t stream;

 private:
  cublasHandle_t blas_ = nullptr;
  cusparseHandle_t sparse_ = nullptr;
  cusolverDnHandle_t solver_ = nullptr;
  cusolverDnParams_t solver_params_ = nullptr;
};

}  // namespace cuda
}  // namespace aloft
