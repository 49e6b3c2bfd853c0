#include "kernels/cuda/magnitude.cuh"
#include "kernels/not_finite.hpp"

namespace aloft::cuda {

Magnitudes require_finite(CudaDevice& device, const char* operation, ConstMatrixView a, Part part) {
  auto findings = zeros<std::uint64_t>(device, static_cast<std::size_t>(a.batch + 1));
  inspect(a, part, findings.data(), device.stream());
  std::uint64_t complement = 0;
  device.download(&complement, findings.data() + a.batch, sizeof complement);
  device.synchronize();
  if (complement == 0) return findings;
  const auto index = static_cast<std::int64_t>(~complement);
  double value = 0;
  device.download(&value, a.data + index, sizeof value);
  device.synchronize();
  const std::int64_t within = index % (a.rows * a.cols);
  throw_not_finite(operation, index / (a.rows * a.cols), within / a.cols, within % a.cols, value);
}

}  // namespace aloft::cuda
