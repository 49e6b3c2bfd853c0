#include <cublas_v2.h>

#include "kernels/cuda/vendor_handles.hpp"

// A row-major matrix [m, n] is, in memory, the column-major matrix [n, m] of its transpose. So the row-major
// c = op(a)·op(b) is asked for as the column-major cᵀ = op(b)ᵀ·op(a)ᵀ: operands change places, each keeps its
// own transposition.

namespace aloft::cuda {

void Vendor::gemm(std::int64_t m, std::int64_t n, std::int64_t k, double alpha, Operand a, Operand b,
                  double beta, double* c, std::int64_t ld_c, std::int64_t stride_c, std::int64_t batch) {
  const auto op = [](const Operand& x) { return x.transpose ? CUBLAS_OP_T : CUBLAS_OP_N; };
  if (batch == 1)
    check(ALOFT_VENDOR(blas, cublasDgemm_64)(handles_->blas(), op(b), op(a), n, m, k, &alpha, b.data, b.ld,
                                             a.data, a.ld, &beta, c, ld_c));
  else
    check(ALOFT_VENDOR(blas, cublasDgemmStridedBatched_64)(handles_->blas(), op(b), op(a), n, m, k, &alpha,
                                                           b.data, b.ld, b.stride, a.data, a.ld, a.stride,
                                                           &beta, c, ld_c, stride_c, batch));
  queued("cublasDgemm", handles_->stream);
}

}  // namespace aloft::cuda
