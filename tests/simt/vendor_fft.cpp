#include <cblas.h>

#include <algorithm>
#include <complex>
#include <numbers>
#include <vector>

#include "kernels/cuda/vendor.hpp"
#include "tests/simt/vendor_call.hpp"

// cuFFT's part of the door by the definition of the transform, F z F with F[u][i] = e^{∓2πi ui/n}.

namespace aloft::cuda {

void Vendor::fft2(double* z, std::int64_t n, bool inverse) {
  using Complex = std::complex<double>;
  queue_call(device_, [=] {
    const auto side = static_cast<std::size_t>(n);
    const auto size = static_cast<blasint>(n);
    auto* out = reinterpret_cast<Complex*>(z);
    std::vector<Complex> power(side), f(side * side), x(out, out + side * side), rows(side * side);
    for (std::int64_t p = 0; p < n; ++p)
      power[static_cast<std::size_t>(p)] = std::polar(
          1.0, (inverse ? 2 : -2) * std::numbers::pi * static_cast<double>(p) / static_cast<double>(n));
    for (std::size_t u = 0; u < side; ++u)
      for (std::size_t i = 0; i < side; ++i) f[u * side + i] = power[u * i % side];
    const Complex one = 1, zero = 0;
    cblas_zgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, size, size, size, &one, x.data(), size, f.data(),
                size, &zero, rows.data(), size);
    cblas_zgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, size, size, size, &one, f.data(), size,
                rows.data(), size, &zero, x.data(), size);
    std::copy(x.begin(), x.end(), out);  // in here, not in BLAS: AddressSanitizer sees how much
  });
  device_.synchronize();
}

}  // namespace aloft::cuda
