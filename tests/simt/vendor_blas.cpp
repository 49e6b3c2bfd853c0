#include <cblas.h>

#include "kernels/cuda/vendor.hpp"
#include "tests/simt/vendor_call.hpp"

// cuBLAS' part of the door over CBLAS.

namespace aloft::cuda {
namespace {

CBLAS_TRANSPOSE op(bool transpose) { return transpose ? CblasTrans : CblasNoTrans; }
blasint size(std::int64_t x) { return static_cast<blasint>(x); }

}  // namespace

void Vendor::gemm(std::int64_t m, std::int64_t n, std::int64_t k, double alpha, Operand a, Operand b,
                  double beta, double* c, std::int64_t ld_c, std::int64_t stride_c, std::int64_t batch) {
  queue_call(device_, [=] {
    for (std::int64_t item = 0; item < batch; ++item) {
      cblas_dgemm(CblasRowMajor, op(a.transpose), op(b.transpose), size(m), size(n), size(k), alpha,
                  a.data + item * a.stride, size(a.ld), b.data + item * b.stride, size(b.ld), beta,
                  c + item * stride_c, size(ld_c));
      for (std::int64_t row = 0; row < m; ++row) wrote(c + item * stride_c + row * ld_c, n);
    }
  });
}

void Vendor::gemm(std::int64_t m, std::int64_t n, std::int64_t k, float alpha, FloatOperand a, FloatOperand b,
                  float beta, float* c, std::int64_t ld_c, std::int64_t stride_c, std::int64_t batch) {
  queue_call(device_, [=] {
    for (std::int64_t item = 0; item < batch; ++item) {
      cblas_sgemm(CblasRowMajor, op(a.transpose), op(b.transpose), size(m), size(n), size(k), alpha,
                  a.data + item * a.stride, size(a.ld), b.data + item * b.stride, size(b.ld), beta,
                  c + item * stride_c, size(ld_c));
      for (std::int64_t row = 0; row < m; ++row) wrote(c + item * stride_c + row * ld_c, n);
    }
  });
}

}  // namespace aloft::cuda
