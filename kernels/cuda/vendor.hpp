#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

#include "host/cuda_device.hpp"
#include "host/footprint.hpp"

// The only door to NVIDIA's libraries (cuBLAS, cuSOLVER, cuSPARSE, cuFFT, CUB's device-wide calls).
// Everything else under kernels/cuda/ is own kernels and host code, which the tests execute without a GPU:
// there, the functions below are bodies over BLAS, LAPACK, kissfft and the standard library
// (tests/simt/vendor_*.cpp), and only the bodies in vendor_*.{cpp,cu} beside this page wait for a GPU.
//
// All pointers are device memory; matrices are row-major and packed unless a leading dimension is given;
// batches lie one after the other. Calls are ordered on the device's stream and take their workspace from the
// device's pool for as long as they run. A call that must look at a result (convergence, a length)
// synchronises, and says so. Results are deterministic: the same bits for the same input on the same GPU.

namespace aloft::cuda {

class Vendor {
 public:
  explicit Vendor(CudaDevice& device);
  ~Vendor();
  Vendor(const Vendor&) = delete;
  Vendor& operator=(const Vendor&) = delete;

  // ---- cuBLAS

  /// One operand of gemm: rows of `ld` elements, `stride` elements from item to item (0: shared by all).
  template <class T>
  struct OperandOf {
    const T* data = nullptr;
    std::int64_t ld = 0;
    std::int64_t stride = 0;
    bool transpose = false;
  };
  using Operand = OperandOf<double>;
  using FloatOperand = OperandOf<float>;
  /// c = alpha·op(a)·op(b) + beta·c for every batch item; op(a) [m, k], op(b) [k, n], c [m, n] rows of ld_c.
  /// c is not read when beta is 0. @pre m, n, k and batch > 0
  void gemm(std::int64_t m, std::int64_t n, std::int64_t k, double alpha, Operand a, Operand b, double beta,
            double* c, std::int64_t ld_c, std::int64_t stride_c, std::int64_t batch);
  /// The same in single precision, in its full 24 digits: never by TF32, whose factors have 11.
  void gemm(std::int64_t m, std::int64_t n, std::int64_t k, float alpha, FloatOperand a, FloatOperand b,
            float beta, float* c, std::int64_t ld_c, std::int64_t stride_c, std::int64_t batch);

  // ---- cuSPARSE

  /// y = a·x. a: CSR [rows, cols], offsets [rows + 1] from 0, columns ascending in a row; x [cols, k] rows of
  /// ld_x, y [rows, k] rows of ld_y. The library wants offsets and columns of one width: nnz < 2^31
  /// (sparse_product.cu splits what is larger).
  /// @pre rows, k and nnz > 0
  void spmm(std::int64_t rows, std::int64_t cols, std::int64_t nnz, const std::int32_t* offsets,
            const std::uint32_t* columns, const double* values, const double* x, std::int64_t ld_x,
            std::int64_t k, double* y, std::int64_t ld_y);
  /// The same in single precision.
  void spmm(std::int64_t rows, std::int64_t cols, std::int64_t nnz, const std::int32_t* offsets,
            const std::uint32_t* columns, const float* values, const float* x, std::int64_t ld_x,
            std::int64_t k, float* y, std::int64_t ld_y);

  // ---- cuSOLVER. Throws NumericError without convergence, naming the item of the batch. Magnitudes far from
  // one are the caller's to scale (a power of two): the library does not say that it does.

  /// a [batch][n, n] symmetric, only the lower triangle is read -> values [batch][n] ascending and, in place
  /// of a, the eigenvectors as *rows* (row k belongs to values[k]). Without `vectors` a is only destroyed.
  /// Synchronises.
  void eigh(double* a, std::int64_t n, std::int64_t batch, double* values, bool vectors);
  /// The same for Hermitian a, complex numbers as (re, im) pairs and *column-major*: a [batch][n, n, 2], the
  /// upper triangle is read; column k becomes the eigenvector z with a z = values[k] z. Without `vectors` a
  /// is only destroyed. Synchronises.
  void eigh_complex(double* a, std::int64_t n, std::int64_t batch, double* values, bool vectors);
  /// Thin SVD of a [batch][m, n], m <= n: u [batch][m, m], sigma [batch][m] descending, vt [batch][m, n]. a
  /// is destroyed. u and vt may both be null: values only. Synchronises.
  void svd(double* a, std::int64_t m, std::int64_t n, std::int64_t batch, double* u, double* sigma,
           double* vt);
  /// a [batch][n, n] general -> values [batch][n, 2] (re, im). a is destroyed. Synchronises.
  void eigenvalues(double* a, std::int64_t n, std::int64_t batch, double* values);
  /// Householder QR of every *column-major* y [batch][m, k], m >= k: y becomes Q (m × k, column-major),
  /// diagonal_r [batch][k] the diagonal of R, of any sign.
  void qr(double* y, std::int64_t m, std::int64_t k, std::int64_t batch, double* diagonal_r);

  // ---- cuFFT

  /// 2-D transform of z [n, n, 2] (re, im) in place, unscaled: the inverse of the transform is n² times z.
  /// Synchronises.
  void fft2(double* z, std::int64_t n, bool inverse);

  // ---- CUB. n may exceed 2^31 where the library allows it; 0 is fine.

  /// Ascending by bits [begin_bit, end_bit). `keys` is the input, `alternate` scratch of the same size;
  /// returns the one of the two that holds the result.
  [[nodiscard]] std::uint64_t* sort_keys(std::uint64_t* keys, std::uint64_t* alternate, std::int64_t n,
                                         int begin_bit, int end_bit);
  /// Stable; values [n] move with their keys. Results land in keys_out, values_out; the inputs are kept.
  void sort_pairs(const std::uint64_t* keys, std::uint64_t* keys_out, const std::uint64_t* values,
                  std::uint64_t* values_out, std::int64_t n, int begin_bit, int end_bit);
  /// out[i] = Σ_{j < i} in[j], i in [0, n); in and out may be the same.
  void exclusive_sum(const std::uint64_t* in, std::uint64_t* out, std::int64_t n);
  /// keys [n], equal ones adjacent -> unique [runs] and lengths [runs]; returns runs. Synchronises.
  [[nodiscard]] std::int64_t run_lengths(const std::uint64_t* keys, std::int64_t n, std::uint64_t* unique,
                                         std::uint64_t* lengths);
  /// Sums of values over runs of equal keys: unique [runs], sums [runs]; returns runs. Synchronises.
  [[nodiscard]] std::int64_t sum_by_key(const std::uint64_t* keys, const std::uint64_t* values,
                                        std::int64_t n, std::uint64_t* unique, std::uint64_t* sums);

  // ---- What calls of those sizes take for as long as they run, as the libraries say before any work.

  [[nodiscard]] Footprint spmm_scratch(std::int64_t rows, std::int64_t cols, std::int64_t nnz,
                                       std::int64_t k) const;
  [[nodiscard]] Footprint eigh_scratch(std::int64_t n, std::int64_t batch, bool complex) const;
  [[nodiscard]] Footprint svd_scratch(std::int64_t m, std::int64_t n) const;  ///< values only
  [[nodiscard]] Footprint eigenvalues_scratch(std::int64_t n) const;
  [[nodiscard]] Footprint qr_scratch(std::int64_t m, std::int64_t k) const;
  [[nodiscard]] Footprint sort_pairs_scratch(std::int64_t n) const;
  [[nodiscard]] Footprint sort_keys_scratch(std::int64_t n) const;
  [[nodiscard]] Footprint run_lengths_scratch(std::int64_t n) const;

 private:
  struct Handles;  ///< library handles, bound to the stream; made when first needed
  CudaDevice& device_;
  std::unique_ptr<Handles> handles_;
};

}  // namespace aloft::cuda
