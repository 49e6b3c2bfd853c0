#include "kernels/random.hpp"

#include "kernels/cuda/each_element.cuh"
#include "kernels/cuda/linear_ops.hpp"

namespace aloft::cuda {
namespace {

/// Elements 2·block and 2·block + 1 of x [n] by one thread: they share their random bits.
__device__ void fill_normal_pair(std::int64_t block, double* x, std::int64_t n, std::uint64_t seed,
                                 std::uint64_t stream, double stddev) {
  const NormalPair pair = normal_pair(seed, stream, static_cast<std::uint64_t>(block));
  x[2 * block] = pair.even * stddev;
  if (2 * block + 1 < n) x[2 * block + 1] = pair.odd * stddev;
}

}  // namespace

void CudaLinearOps::fill_normal(MatrixView x, std::uint64_t seed, std::uint64_t stream, double stddev) {
  const std::int64_t n = x.size();
  for_each_element<fill_normal_pair>(device_.stream(), (n + 1) / 2, x.data, n, seed, stream, stddev);
}

}  // namespace aloft::cuda
