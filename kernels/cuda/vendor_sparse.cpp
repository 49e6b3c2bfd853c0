#include <cusparse.h>

#include <memory>

#include "host/device.hpp"
#include "kernels/cuda/vendor_handles.hpp"

namespace aloft::cuda {
namespace {

// Descriptors only name memory; they may go as soon as the call that used them is queued.
struct Forget {
  void operator()(cusparseConstSpMatDescr_t d) const noexcept {
    (void)ALOFT_VENDOR(sparse, cusparseDestroySpMat)(d);
  }
  void operator()(cusparseConstDnMatDescr_t d) const noexcept {
    (void)ALOFT_VENDOR(sparse, cusparseDestroyDnMat)(d);
  }
};
template <class Descriptor>
using Owned = std::unique_ptr<std::remove_pointer_t<Descriptor>, Forget>;

template <class T>
constexpr cudaDataType_t kType = CUDA_R_64F;
template <>
constexpr cudaDataType_t kType<float> = CUDA_R_32F;

template <class T>
Owned<cusparseConstDnMatDescr_t> row_major(std::int64_t rows, std::int64_t cols, std::int64_t ld,
                                           const T* data) {
  cusparseConstDnMatDescr_t out = nullptr;
  check(ALOFT_VENDOR(sparse, cusparseCreateConstDnMat)(&out, rows, cols, ld, data, kType<T>,
                                                       CUSPARSE_ORDER_ROW));
  return Owned<cusparseConstDnMatDescr_t>(out);
}
template <class T>
Owned<cusparseDnMatDescr_t> row_major(std::int64_t rows, std::int64_t cols, std::int64_t ld, T* data) {
  cusparseDnMatDescr_t out = nullptr;
  check(ALOFT_VENDOR(sparse, cusparseCreateDnMat)(&out, rows, cols, ld, data, kType<T>, CUSPARSE_ORDER_ROW));
  return Owned<cusparseDnMatDescr_t>(out);
}

// The one algorithm for CSR that the manual says gives the same bits on every run.
constexpr cusparseSpMMAlg_t kAlgorithm = CUSPARSE_SPMM_CSR_ALG3;

template <class T>
void multiply(Device& device, cusparseHandle_t handle, std::int64_t rows, std::int64_t cols, std::int64_t nnz,
              const std::int32_t* offsets, const std::uint32_t* columns, const T* values, const T* x,
              std::int64_t ld_x, std::int64_t k, T* y, std::int64_t ld_y) {
  cusparseConstSpMatDescr_t sparse = nullptr;
  check(ALOFT_VENDOR(sparse, cusparseCreateConstCsr)(&sparse, rows, cols, nnz, offsets, columns, values,
                                                     CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I,
                                                     CUSPARSE_INDEX_BASE_ZERO, kType<T>));
  const Owned<cusparseConstSpMatDescr_t> a(sparse);
  const auto from = row_major(cols, k, ld_x, x);
  const auto to = row_major(rows, k, ld_y, y);
  const T one = 1, zero = 0;
  constexpr cusparseOperation_t as_it_is = CUSPARSE_OPERATION_NON_TRANSPOSE;
  std::size_t bytes = 0;
  check(ALOFT_VENDOR(sparse, cusparseSpMM_bufferSize)(handle, as_it_is, as_it_is, &one, a.get(), from.get(),
                                                      &zero, to.get(), kType<T>, kAlgorithm, &bytes));
  Buffer<std::byte> workspace(device, bytes);
  check(ALOFT_VENDOR(sparse, cusparseSpMM)(handle, as_it_is, as_it_is, &one, a.get(), from.get(), &zero,
                                           to.get(), kType<T>, kAlgorithm, workspace.data()));
}

}  // namespace

void Vendor::spmm(std::int64_t rows, std::int64_t cols, std::int64_t nnz, const std::int32_t* offsets,
                  const std::uint32_t* columns, const double* values, const double* x, std::int64_t ld_x,
                  std::int64_t k, double* y, std::int64_t ld_y) {
  multiply(device_, handles_->sparse(), rows, cols, nnz, offsets, columns, values, x, ld_x, k, y, ld_y);
  queued("cusparseSpMM", handles_->stream);
}

void Vendor::spmm(std::int64_t rows, std::int64_t cols, std::int64_t nnz, const std::int32_t* offsets,
                  const std::uint32_t* columns, const float* values, const float* x, std::int64_t ld_x,
                  std::int64_t k, float* y, std::int64_t ld_y) {
  multiply(device_, handles_->sparse(), rows, cols, nnz, offsets, columns, values, x, ld_x, k, y, ld_y);
  queued("cusparseSpMM", handles_->stream);
}

// The library is asked with the matrix at hand, so before any work this can only be a bound: some words a row
// and a tile of entries.
Footprint Vendor::spmm_scratch(std::int64_t rows, std::int64_t, std::int64_t nnz, std::int64_t) const {
  constexpr std::uint64_t least = std::uint64_t{4} << 20;
  return on_device(least + static_cast<std::uint64_t>(rows) * 16 + static_cast<std::uint64_t>(nnz) / 8);
}

}  // namespace aloft::cuda
