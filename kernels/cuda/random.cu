#include "kernels/random.hpp"

#include "kernels/cuda/each_element.cuh"
#include "kernels/cuda/linear_ops.hpp"

namespace aloft::cuda {
namespace {

/// Elements 2·block and 2·block + 1 of x by one thread: they share their random bits.
__device__ void fill_normal_pair(std::int64_t block, MatrixView x, std::uint64_t seed, std::uint64_t stream,
                                 double stddev) {
  const NormalPair pair = normal_pair(seed, stream, static_cast<std::uint64_t>(block));
  x.element(2 * block) = pair.even * stddev;
  if (2 * block + 1 < x.size()) x.element(2 * block + 1) = pair.odd * stddev;
}

}  // namespace

void CudaLinearOps::fill_normal(MatrixView x, std::uint64_t seed, std::uint64_t stream, double stddev) {
  for_each_element<fill_normal_pair>(device_.stream(), (x.size() + 1) / 2, x, seed, stream, stddev);
}

}  // namespace aloft::cuda
