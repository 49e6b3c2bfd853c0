#include <cublas_v2.h>

#include "kernels/cuda/vendor_handles.hpp"

// A row-major matrix [m, n] is, in memory, the column-major matrix [n, m] of its transpose. So the row-major
// c = op(a)·op(b) is asked for as the column-major cᵀ = op(b)ᵀ·op(a)ᵀ: operands change places, each keeps its
// own transposition.

namespace aloft::cuda {
namespace {

cublasOperation_t op(bool transpose) { return transpose ? CUBLAS_OP_T : CUBLAS_OP_N; }

}  // namespace

void Vendor::gemm(std::int64_t m, std::int64_t n, std::int64_t k, double alpha, Operand a, Operand b,
                  double beta, double* c, std::int64_t ld_c, std::int64_t stride_c, std::int64_t batch) {
  const cublasOperation_t op_a = op(a.transpose), op_b = op(b.transpose);
  if (batch == 1)
    check(ALOFT_VENDOR(blas, cublasDgemm_64)(handles_->blas(), op_b, op_a, n, m, k, &alpha, b.data, b.ld,
                                             a.data, a.ld, &beta, c, ld_c));
  else
    check(ALOFT_VENDOR(blas, cublasDgemmStridedBatched_64)(handles_->blas(), op_b, op_a, n, m, k, &alpha,
                                                           b.data, b.ld, b.stride, a.data, a.ld, a.stride,
                                                           &beta, c, ld_c, stride_c, batch));
  queued("cublasDgemm", handles_->stream);
}

// The handle's mathematics mode (vendor_handles.cpp) is the default one: "precisions with at least the same
// number of mantissa and exponent bits as requested", so no TF32.
void Vendor::gemm(std::int64_t m, std::int64_t n, std::int64_t k, float alpha, FloatOperand a, FloatOperand b,
                  float beta, float* c, std::int64_t ld_c, std::int64_t stride_c, std::int64_t batch) {
  const cublasOperation_t op_a = op(a.transpose), op_b = op(b.transpose);
  if (batch == 1)
    check(ALOFT_VENDOR(blas, cublasSgemm_64)(handles_->blas(), op_b, op_a, n, m, k, &alpha, b.data, b.ld,
                                             a.data, a.ld, &beta, c, ld_c));
  else
    check(ALOFT_VENDOR(blas, cublasSgemmStridedBatched_64)(handles_->blas(), op_b, op_a, n, m, k, &alpha,
                                                           b.data, b.ld, b.stride, a.data, a.ld, a.stride,
                                                           &beta, c, ld_c, stride_c, batch));
  queued("cublasSgemm", handles_->stream);
}

}  // namespace aloft::cuda
