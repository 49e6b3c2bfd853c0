#include "host/error.hpp"
#include "kernels/cuda/each_element.cuh"
#include "kernels/cuda/linear_ops.hpp"

// The circulant convolution: the library's transforms, and the elementwise steps around them. Complex numbers
// are (re, im) pairs.

namespace aloft::cuda {
namespace {

__device__ void widen_to_complex(std::int64_t e, const double* a, double2* z) { z[e] = double2{a[e], 0.0}; }

/// z[i][j] = k0[(j − i) mod n], k0 [n] real.
__device__ void circulant_element(std::int64_t e, const double* k0, std::int64_t n, double2* z) {
  const std::int64_t i = e / n, j = e - i * n;
  z[e] = double2{k0[j >= i ? j - i : j - i + n], 0.0};
}

/// z = z ∘ w.
__device__ void multiply_complex(std::int64_t e, double2* z, const double2* w) {
  const double2 x = z[e], y = w[e];
  z[e] = double2{x.x * y.x - x.y * y.y, x.x * y.y + x.y * y.x};
}

__device__ void scale_real_part(std::int64_t e, const double2* z, double factor, double* out) {
  out[e] = z[e].x * factor;
}

}  // namespace

// Two complex [n, n] arrays besides the library's workspace; the circulant's transform serves every item.
void CudaLinearOps::convolve_circulant(ConstMatrixView a, const double* k0, MatrixView out) {
  const std::int64_t n = a.rows, size = n * n;
  expects(a.cols == n && out.rows == n && out.cols == n && a.batch == out.batch,
          "convolve_circulant: [n, n]");
  expects(a.contiguous() && out.contiguous(), "convolve_circulant: contiguous");
  if (a.size() == 0) return;
  const cudaStream_t stream = device_.stream();
  Matrix kernel_pairs(device_, n, 2 * n), z_pairs(device_, n, 2 * n);
  double *const kernel = kernel_pairs.data.data(), *const z = z_pairs.data.data();
  auto *const kernel_complex = reinterpret_cast<double2*>(kernel), *const z_complex =
                                                                       reinterpret_cast<double2*>(z);
  for_each_element<circulant_element>(stream, size, k0, n, kernel_complex);
  vendor_.fft2(kernel, n, false);
  const double unscale = 1.0 / (static_cast<double>(n) * static_cast<double>(n));
  for (std::int64_t item = 0; item < a.batch; ++item) {
    for_each_element<widen_to_complex>(stream, size, a.item(item).data, z_complex);
    vendor_.fft2(z, n, false);
    for_each_element<multiply_complex>(stream, size, z_complex, kernel_complex);
    vendor_.fft2(z, n, true);
    for_each_element<scale_real_part>(stream, size, z_complex, unscale, out.item(item).data);
  }
}

}  // namespace aloft::cuda
