#include "kernels/cuda/vendor_handles.hpp"

#include <fmt/format.h>

namespace aloft {
namespace {

enum class Kind { memory, other };

[[noreturn]] void fail(Kind kind, const char* library, std::string_view status, const char* file, int line) {
  const std::string what = at_line(file, line, fmt::format("{}: {}", library, status));
  if (kind == Kind::memory) throw ResourceError("out of GPU memory: " + what);
  throw DeviceError(what);
}

std::string_view name_of(cusolverStatus_t status) {  // cuSOLVER has no such function of its own
  switch (status) {
    case CUSOLVER_STATUS_NOT_INITIALIZED:
      return "not initialised";
    case CUSOLVER_STATUS_ALLOC_FAILED:
      return "allocation failed";
    case CUSOLVER_STATUS_INVALID_VALUE:
      return "invalid value";
    case CUSOLVER_STATUS_ARCH_MISMATCH:
      return "the GPU's architecture is not supported";
    case CUSOLVER_STATUS_EXECUTION_FAILED:
      return "execution failed";
    case CUSOLVER_STATUS_INTERNAL_ERROR:
      return "internal error";
    case CUSOLVER_STATUS_NOT_SUPPORTED:
      return "not supported";
    default:
      return "failed";
  }
}

std::string_view name_of(cufftResult status) {
  switch (status) {
    case CUFFT_INVALID_PLAN:
      return "invalid plan";
    case CUFFT_ALLOC_FAILED:
      return "allocation failed";
    case CUFFT_INVALID_VALUE:
      return "invalid value";
    case CUFFT_INTERNAL_ERROR:
      return "internal error";
    case CUFFT_EXEC_FAILED:
      return "execution failed";
    case CUFFT_SETUP_FAILED:
      return "set-up failed";
    case CUFFT_INVALID_SIZE:
      return "invalid size";
    default:
      return "failed";
  }
}

}  // namespace

void check(cublasStatus_t status, const char* file, int line) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail(status == CUBLAS_STATUS_ALLOC_FAILED ? Kind::memory : Kind::other, "cuBLAS",
       ALOFT_VENDOR(blas, cublasGetStatusString)(status), file, line);
}

void check(cusparseStatus_t status, const char* file, int line) {
  if (status == CUSPARSE_STATUS_SUCCESS) return;
  const bool memory =
      status == CUSPARSE_STATUS_ALLOC_FAILED || status == CUSPARSE_STATUS_INSUFFICIENT_RESOURCES;
  fail(memory ? Kind::memory : Kind::other, "cuSPARSE", ALOFT_VENDOR(sparse, cusparseGetErrorString)(status),
       file, line);
}

void check(cusolverStatus_t status, const char* file, int line) {
  if (status == CUSOLVER_STATUS_SUCCESS) return;
  fail(status == CUSOLVER_STATUS_ALLOC_FAILED ? Kind::memory : Kind::other, "cuSOLVER",
       fmt::format("{} (status {})", name_of(status), static_cast<int>(status)), file, line);
}

void check(cufftResult status, const char* file, int line) {
  if (status == CUFFT_SUCCESS) return;
  fail(status == CUFFT_ALLOC_FAILED ? Kind::memory : Kind::other, "cuFFT",
       fmt::format("{} (status {})", name_of(status), static_cast<int>(status)), file, line);
}

namespace cuda {

Vendor::Vendor(CudaDevice& device) : device_(device), handles_(std::make_unique<Handles>(device.stream())) {
  open_vendor_libraries();  // what is missing should be known before hours of counting
}
Vendor::~Vendor() = default;

Vendor::Handles::~Handles() {
  if (solver_params_ != nullptr) (void)ALOFT_VENDOR(solver, cusolverDnDestroyParams)(solver_params_);
  if (solver_ != nullptr) (void)ALOFT_VENDOR(solver, cusolverDnDestroy)(solver_);
  if (sparse_ != nullptr) (void)ALOFT_VENDOR(sparse, cusparseDestroy)(sparse_);
  if (blas_ != nullptr) (void)ALOFT_VENDOR(blas, cublasDestroy)(blas_);
}

cublasHandle_t Vendor::Handles::blas() {
  if (blas_ == nullptr) {
    check(ALOFT_VENDOR(blas, cublasCreate)(&blas_));
    check(ALOFT_VENDOR(blas, cublasSetStream)(blas_, stream));
    // Plain double and single precision (no TF32), and sums in a fixed order.
    check(ALOFT_VENDOR(blas, cublasSetMathMode)(blas_, CUBLAS_DEFAULT_MATH));
    check(ALOFT_VENDOR(blas, cublasSetAtomicsMode)(blas_, CUBLAS_ATOMICS_NOT_ALLOWED));
  }
  return blas_;
}

cusparseHandle_t Vendor::Handles::sparse() {
  if (sparse_ == nullptr) {
    check(ALOFT_VENDOR(sparse, cusparseCreate)(&sparse_));
    check(ALOFT_VENDOR(sparse, cusparseSetStream)(sparse_, stream));
  }
  return sparse_;
}

cusolverDnHandle_t Vendor::Handles::solver() {
  if (solver_ == nullptr) {
    check(ALOFT_VENDOR(solver, cusolverDnCreate)(&solver_));
    check(ALOFT_VENDOR(solver, cusolverDnSetStream)(solver_, stream));
    check(ALOFT_VENDOR(solver, cusolverDnSetDeterministicMode)(solver_, CUSOLVER_DETERMINISTIC_RESULTS));
  }
  return solver_;
}

cusolverDnParams_t Vendor::Handles::solver_params() {
  if (solver_params_ == nullptr) check(ALOFT_VENDOR(solver, cusolverDnCreateParams)(&solver_params_));
  return solver_params_;
}

}  // namespace cuda
}  // namespace aloft
