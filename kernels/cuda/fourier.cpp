#include "kernels/cuda/fourier.cuh"

#include "host/error.hpp"
#include "kernels/cuda/linear_ops.hpp"

namespace aloft::cuda {

// Two complex [n, n] arrays besides the library's workspace; the circulant's transform serves every item.
void CudaLinearOps::convolve_circulant(ConstMatrixView a, const double* k0, MatrixView out) {
  const std::int64_t n = a.rows;
  expects(a.cols == n && out.rows == n && out.cols == n && a.batch == out.batch,
          "convolve_circulant: [n, n]");
  if (a.size() == 0) return;
  const cudaStream_t stream = device_.stream();
  Matrix kernel(device_, n, 2 * n), z(device_, n, 2 * n);
  circulant(k0, n, kernel.data.data(), stream);
  vendor_.fft2(kernel.data.data(), n, false);
  const double unscale = 1.0 / (static_cast<double>(n) * static_cast<double>(n));
  for (std::int64_t item = 0; item < a.batch; ++item) {
    to_complex(a.item(item).data, n, z.data.data(), stream);
    vendor_.fft2(z.data.data(), n, false);
    multiply_pointwise(z.data.data(), kernel.data.data(), n, stream);
    vendor_.fft2(z.data.data(), n, true);
    real_part(z.data.data(), n, unscale, out.item(item).data, stream);
  }
}

}  // namespace aloft::cuda
