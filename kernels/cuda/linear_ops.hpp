#pragma once
#include <memory>

#include "host/cuda_device.hpp"
#include "kernels/cuda/vendor.hpp"
#include "kernels/ops.hpp"

namespace aloft::cuda {

/// The linear half of the contract (kernels/ops.hpp says what each does) on the GPU. Implemented by subject:
/// sparse.cu, sparse_real.cu, sparse_product.cu, dense.cu, elementwise.cu, transpose.cu, random.cu,
/// orthonormalize.cpp, spectrum.cpp, skew_spectrum.cu, fourier.cu, scratch.cpp. What kernels share:
/// launch.cuh, grid.cuh, each_element.cuh, warp.cuh, block_sum.cuh, search.cuh.
class CudaLinearOps final : public LinearOps {
 public:
  explicit CudaLinearOps(CudaDevice& device);
  ~CudaLinearOps() override;  // in linear_ops.cpp: the object file that needs every method below

  CountCsr transpose(CountCsrView a) override;
  RealCsr transpose(RealCsrView a) override;
  RealCsr to_real(CountCsrView a, const double* row_scale) override;
  void marginals(CountCsrView a, std::uint64_t* row_sums, std::uint64_t* column_sums) override;
  RealCsr positive_pmi(CountCsrView a) override;
  RealCsr log1p_scaled(CountCsrView a, const double* column_scale) override;
  void spmm(RealCsrView a, ConstMatrixView x, MatrixView y) override;
  TransposeInner transpose_inner(RealCsrView a) override;

  void gemm(double alpha, Op op_a, ConstMatrixView a, Op op_b, ConstMatrixView b, double beta,
            MatrixView c) override;
  void scale(MatrixView x, const double* row_scale, const double* column_scale) override;
  void transpose(ConstMatrixView x, MatrixView out) override;
  void skew_part(ConstMatrixView x, MatrixView out) override;
  void add_scaled(double alpha, ConstMatrixView x, MatrixView y) override;
  void inner(ConstMatrixView x, ConstMatrixView y, double* out) override;
  void orthonormalize(MatrixView y) override;
  void eigh(ConstMatrixView a, double* values, MatrixView v) override;
  void svd(ConstMatrixView a, MatrixView u, double* sigma, MatrixView vt) override;
  void skew_spectrum(ConstMatrixView a, double* sigma, MatrixView left, MatrixView right) override;
  void convolve_circulant(ConstMatrixView a, const double* k0, MatrixView out) override;
  void fill_normal(MatrixView x, std::uint64_t seed, std::uint64_t stream, double stddev) override;

  Footprint sparse_scratch(std::int64_t cols, std::int64_t nnz) const override;
  Footprint spmm_scratch(std::int64_t rows, std::int64_t cols, std::int64_t nnz,
                         std::int64_t k) const override;
  Footprint orthonormalize_scratch(std::int64_t m, std::int64_t k, std::int64_t batch) const override;
  Footprint eigh_scratch(std::int64_t n, std::int64_t batch) const override;
  Footprint svd_scratch(std::int64_t m, std::int64_t n, std::int64_t batch) const override;
  Footprint skew_spectrum_scratch(std::int64_t n, std::int64_t batch) const override;

 private:
  CudaDevice& device_;
  Vendor vendor_;
};

[[nodiscard]] std::unique_ptr<LinearOps> make_linear_ops(CudaDevice& device);

}  // namespace aloft::cuda
