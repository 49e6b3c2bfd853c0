#include <algorithm>

#include "kernels/cuda/vendor.hpp"
#include "tests/simt/vendor_call.hpp"

// cuSPARSE's part of the door, spelled out.

namespace aloft::cuda {
namespace {

template <class T>
void multiply(CudaDevice& device, std::int64_t rows, const std::int32_t* offsets,
              const std::uint32_t* columns, const T* values, const T* x, std::int64_t ld_x, std::int64_t k,
              T* y, std::int64_t ld_y) {
  queue_call(device, [=] {
    for (std::int64_t i = 0; i < rows; ++i) {
      T* const to = y + i * ld_y;
      std::fill_n(to, k, T{0});
      for (std::int32_t e = offsets[i]; e < offsets[i + 1]; ++e)
        for (std::int64_t j = 0; j < k; ++j) to[j] += values[e] * x[std::int64_t{columns[e]} * ld_x + j];
      wrote(to, k);
    }
  });
}

}  // namespace

void Vendor::spmm(std::int64_t rows, std::int64_t, std::int64_t, const std::int32_t* offsets,
                  const std::uint32_t* columns, const double* values, const double* x, std::int64_t ld_x,
                  std::int64_t k, double* y, std::int64_t ld_y) {
  multiply(device_, rows, offsets, columns, values, x, ld_x, k, y, ld_y);
}
void Vendor::spmm(std::int64_t rows, std::int64_t, std::int64_t, const std::int32_t* offsets,
                  const std::uint32_t* columns, const float* values, const float* x, std::int64_t ld_x,
                  std::int64_t k, float* y, std::int64_t ld_y) {
  multiply(device_, rows, offsets, columns, values, x, ld_x, k, y, ld_y);
}

Footprint Vendor::spmm_scratch(std::int64_t, std::int64_t, std::int64_t, std::int64_t) const { return {}; }

}  // namespace aloft::cuda
