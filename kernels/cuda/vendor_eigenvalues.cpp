#include <fmt/format.h>

#include <cstddef>
#include <vector>

#include "host/error.hpp"
#include "kernels/cuda/vendor_handles.hpp"

// cuSOLVER's Xgeev: eigenvalues of general matrices. Row-major memory is its transpose's, which has the same.

namespace aloft::cuda {
namespace {

struct GeevSizes {
  std::size_t device = 0, host = 0;
};

GeevSizes geev_sizes(cusolverDnHandle_t solver, cusolverDnParams_t params, std::int64_t n, const double* a,
                     const double* values) {
  GeevSizes out;
  check(ALOFT_VENDOR(solver, cusolverDnXgeev_bufferSize)(
      solver, params, CUSOLVER_EIG_MODE_NOVECTOR, CUSOLVER_EIG_MODE_NOVECTOR, n, CUDA_R_64F, a, n, CUDA_C_64F,
      values, CUDA_R_64F, nullptr, n, CUDA_R_64F, nullptr, n, CUDA_R_64F, &out.device, &out.host));
  return out;
}

}  // namespace

Footprint Vendor::eigenvalues_scratch(std::int64_t n) const {
  const GeevSizes sizes = geev_sizes(handles_->solver(), handles_->solver_params(), n, nullptr, nullptr);
  return {sizes.device, sizes.host};
}

// There is no batched form: items follow each other, sharing one workspace.
void Vendor::eigenvalues(double* a, std::int64_t n, std::int64_t batch, double* values) {
  const auto solver = handles_->solver();
  const auto params = handles_->solver_params();
  const GeevSizes sizes = geev_sizes(solver, params, n, a, values);
  Buffer<unsigned char> on_device(device_, sizes.device);
  std::vector<unsigned char> on_host(sizes.host);
  Buffer<int> info(device_, static_cast<std::size_t>(batch));
  for (std::int64_t item = 0; item < batch; ++item) {
    if (item > 0 && sizes.host != 0) device_.synchronize();  // the host's part is still being read
    check(ALOFT_VENDOR(solver, cusolverDnXgeev)(
        solver, params, CUSOLVER_EIG_MODE_NOVECTOR, CUSOLVER_EIG_MODE_NOVECTOR, n, CUDA_R_64F,
        a + item * n * n, n, CUDA_C_64F, values + 2 * item * n, CUDA_R_64F, nullptr, n, CUDA_R_64F, nullptr,
        n, CUDA_R_64F, on_device.data(), sizes.device, on_host.data(), sizes.host, info.data() + item));
    queued("cusolverDnXgeev", handles_->stream);
  }
  const std::vector<int> done = to_host(info);
  for (std::size_t item = 0; item < done.size(); ++item)
    if (done[item] != 0)
      throw NumericError(fmt::format("eigenvalues (Xgeev) failed on matrix {} (info {}): it did not converge",
                                     item, done[item]));
}

}  // namespace aloft::cuda
