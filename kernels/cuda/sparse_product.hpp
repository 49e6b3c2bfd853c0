#pragma once
#include <cstdint>
#include <type_traits>

#include "host/cuda_device.hpp"
#include "kernels/cuda/vendor.hpp"
#include "kernels/matrix.hpp"
#include "kernels/sparse.hpp"

namespace aloft::cuda {

/// How sparse times skinny is done.
struct ProductLimits {
  /// From this share of non-zeros on, `a` is spelled out in stripes of rows and multiplied as a dense matrix.
  /// By entry the sparse product is bound by fetching one row of x (k doubles) from the L2 cache, about 1e12
  /// multiply-adds a second on a big GPU; the dense one runs near the FP64 tensor cores' 1e13 but also over
  /// the zeros: they meet near one entry in ten.
  double dense_fill = 0.125;
  std::int64_t stripe_bytes = std::int64_t{256} << 20;  ///< workspace of one stripe
  /// Non-zeros of one cuSPARSE call, whose offsets are 32-bit; more are done in blocks of rows.
  std::int64_t call_nnz = (std::int64_t{1} << 31) - 1;
};

/// y = a·x, T double or float. Asynchronous, unless a has more than limits.call_nnz entries:
/// then the offsets are looked at on the host. Throws ResourceError when a single row has more than that.
template <class T>
void multiply(CudaDevice& device, Vendor& vendor, CsrViewOf<T> a,
              std::type_identity_t<MatrixViewOf<const T>> x, std::type_identity_t<MatrixViewOf<T>> y,
              const ProductLimits& limits = {});

}  // namespace aloft::cuda
