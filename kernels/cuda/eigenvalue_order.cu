#include "kernels/cuda/eigenvalue_order.cuh"

#include <cmath>

#include "host/cuda_check.hpp"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/warp.cuh"

namespace aloft::cuda {
namespace {

/// One warp an item: a running maximum, 32 values at a time.
__global__ __launch_bounds__(kWarp) void running_maximum(double* values, std::int64_t n, std::int64_t batch) {
  for (std::int64_t item = blockIdx.x; item < batch; item += gridDim.x) {
    double* const own = values + item * n;
    double before = -INFINITY;
    for (std::int64_t first = 0; first < n; first += kWarp) {
      const std::int64_t i = first + lane();
      double most = i < n ? fmax(own[i], before) : before;
      most = fold_up_to_lane(most, [](double x, double y) { return fmax(x, y); });
      if (i < n) own[i] = most;
      before = last_lane(most);
    }
  }
}

}  // namespace

void settle_ascending(double* values, std::int64_t n, std::int64_t batch, cudaStream_t stream) {
  if (n == 0 || batch == 0) return;
  constexpr std::int64_t kMostBlocks = 1 << 16;
  check(launch(running_maximum, dim3(static_cast<unsigned>(batch < kMostBlocks ? batch : kMostBlocks)),
               dim3(kWarp), 0, stream, values, n, batch));
}

}  // namespace aloft::cuda
