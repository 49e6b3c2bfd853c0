#include "kernels/cuda/fourier.cuh"

#include "host/cuda_check.hpp"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/launch.cuh"

namespace aloft::cuda {
namespace {

__global__ __launch_bounds__(kElementThreads) void widen_to_complex(const double* a, std::int64_t size,
                                                                    double2* z) {
  for (std::int64_t e = first_element(); e < size; e += element_stride()) z[e] = double2{a[e], 0.0};
}

__global__ __launch_bounds__(kElementThreads) void fill_circulant(const double* k0, std::int64_t n,
                                                                  double2* z) {
  for (std::int64_t e = first_element(); e < n * n; e += element_stride()) {
    const std::int64_t i = e / n, j = e - i * n;
    z[e] = double2{k0[j >= i ? j - i : j - i + n], 0.0};
  }
}

__global__ __launch_bounds__(kElementThreads) void multiply_complex(double2* z, const double2* w,
                                                                    std::int64_t size) {
  for (std::int64_t e = first_element(); e < size; e += element_stride()) {
    const double2 x = z[e], y = w[e];
    z[e] = double2{x.x * y.x - x.y * y.y, x.x * y.y + x.y * y.x};
  }
}

__global__ __launch_bounds__(kElementThreads) void scale_real_part(const double2* z, std::int64_t size,
                                                                   double factor, double* out) {
  for (std::int64_t e = first_element(); e < size; e += element_stride()) out[e] = z[e].x * factor;
}

}  // namespace

void to_complex(const double* a, std::int64_t n, double* z, cudaStream_t stream) {
  check(launch(widen_to_complex, element_grid(n * n), dim3(kElementThreads), 0, stream, a, n * n,
               reinterpret_cast<double2*>(z)));
}

void circulant(const double* k0, std::int64_t n, double* z, cudaStream_t stream) {
  check(launch(fill_circulant, element_grid(n * n), dim3(kElementThreads), 0, stream, k0, n,
               reinterpret_cast<double2*>(z)));
}

void multiply_pointwise(double* z, const double* w, std::int64_t n, cudaStream_t stream) {
  check(launch(multiply_complex, element_grid(n * n), dim3(kElementThreads), 0, stream,
               reinterpret_cast<double2*>(z), reinterpret_cast<const double2*>(w), n * n));
}

void real_part(const double* z, std::int64_t n, double factor, double* out, cudaStream_t stream) {
  check(launch(scale_real_part, element_grid(n * n), dim3(kElementThreads), 0, stream,
               reinterpret_cast<const double2*>(z), n * n, factor, out));
}

}  // namespace aloft::cuda
