#include "kernels/random.hpp"

#include "host/cuda_check.hpp"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_ops.hpp"

namespace aloft::cuda {
namespace {

/// Elements 2·block and 2·block + 1 of x [n] by one thread: they share their random bits.
__global__ __launch_bounds__(kElementThreads) void fill_normal_pairs(double* x, std::int64_t n,
                                                                     std::uint64_t seed, std::uint64_t stream,
                                                                     double stddev) {
  for (std::int64_t block = first_element(); 2 * block < n; block += element_stride()) {
    const NormalPair pair = normal_pair(seed, stream, static_cast<std::uint64_t>(block));
    x[2 * block] = pair.even * stddev;
    if (2 * block + 1 < n) x[2 * block + 1] = pair.odd * stddev;
  }
}

}  // namespace

void CudaLinearOps::fill_normal(MatrixView x, std::uint64_t seed, std::uint64_t stream, double stddev) {
  const std::int64_t n = x.size();
  if (n == 0) return;
  check(launch(fill_normal_pairs, element_grid((n + 1) / 2), kElementThreads, 0, device_.stream(), x.data, n,
               seed, stream, stddev));
}

}  // namespace aloft::cuda
