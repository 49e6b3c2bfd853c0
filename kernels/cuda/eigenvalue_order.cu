#include "kernels/cuda/eigenvalue_order.cuh"

#include <cmath>

#include "host/cuda_check.hpp"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/launch.cuh"

namespace aloft::cuda {
namespace {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

/// One warp an item: a running maximum, 32 values at a time.
__global__ __launch_bounds__(kWarp) void running_maximum(double* values, std::int64_t n, std::int64_t batch) {
  const int lane = static_cast<int>(threadIdx.x);
  for (std::int64_t item = blockIdx.x; item < batch; item += gridDim.x) {
    double* const own = values + item * n;
    double before = -INFINITY;
    for (std::int64_t first = 0; first < n; first += kWarp) {
      const std::int64_t i = first + lane;
      double most = i < n ? fmax(own[i], before) : before;
      for (int distance = 1; distance < kWarp; distance *= 2) {
        const double other = __shfl_up_sync(kAllLanes, most, static_cast<unsigned>(distance));
        if (lane >= distance) most = fmax(most, other);
      }
      if (i < n) own[i] = most;
      before = __shfl_sync(kAllLanes, most, kWarp - 1);
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
