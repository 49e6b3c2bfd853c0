#include <kissfft/kissfft.hh>

#include <algorithm>
#include <complex>
#include <vector>

#include "kernels/cuda/vendor.hpp"
#include "tests/simt/vendor_call.hpp"

// cuFFT's part of the door over kissfft, whose cost for a prime factor p grows as p²: good enough for tests.

namespace aloft::cuda {

void Vendor::fft2(double* z, std::int64_t n, bool inverse) {
  queue_call(device_, [=] {
    auto* x = reinterpret_cast<std::complex<double>*>(z);
    const auto side = static_cast<std::size_t>(n);
    kissfft<double> plan(side, inverse);
    std::vector<std::complex<double>> line(side), transformed(side);
    for (const bool down : {false, true})  // rows, then columns
      for (std::size_t i = 0; i < side; ++i) {
        const std::size_t first = down ? i : i * side, step = down ? side : 1;
        for (std::size_t j = 0; j < side; ++j) line[j] = x[first + j * step];
        plan.transform(line.data(), transformed.data());
        for (std::size_t j = 0; j < side; ++j) x[first + j * step] = transformed[j];
      }
  });
  device_.synchronize();
}

}  // namespace aloft::cuda
