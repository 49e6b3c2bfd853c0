#include "kernels/cuda/magnitude.cuh"

#include "host/cuda_check.hpp"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/launch.cuh"

namespace aloft::cuda {
namespace {

constexpr std::uint64_t kMagnitude = ~std::uint64_t{0} >> 1;     // all but the sign
constexpr std::uint64_t kInfinity = std::uint64_t{0x7ff} << 52;  // NaNs are above it
using Word = unsigned long long;                                 // what atomicMax takes
static_assert(sizeof(Word) == sizeof(std::uint64_t));

__device__ Word larger(Word a, Word b) { return a < b ? b : a; }

__global__ __launch_bounds__(kElementThreads) void inspect_entries(ConstMatrixView a, Part part,
                                                                   std::uint64_t* findings) {
  const std::int64_t size = a.rows * a.cols;
  for (std::int64_t item = blockIdx.y; item < a.batch; item += gridDim.y) {
    Word largest = 0, complement = 0;
    for (std::int64_t e = first_element(); e < size; e += element_stride()) {
      if (part != Part::all) {
        const std::int64_t row = e / a.cols, column = e - row * a.cols;
        if (column > row || (column == row && part == Part::strict_lower)) continue;
      }
      const std::int64_t index = item * size + e;
      const Word bits = std::bit_cast<std::uint64_t>(a.data[index]) & kMagnitude;
      if (bits < kInfinity)
        largest = larger(largest, bits);
      else
        complement = larger(complement, ~static_cast<Word>(index));
    }
    for (int step = 16; step > 0; step /= 2) {
      largest = larger(largest, __shfl_down_sync(0xffffffffu, largest, step));
      complement = larger(complement, __shfl_down_sync(0xffffffffu, complement, step));
    }
    if (threadIdx.x % 32 != 0) continue;
    if (largest != 0) atomicMax(reinterpret_cast<Word*>(&findings[item]), largest);
    if (complement != 0) atomicMax(reinterpret_cast<Word*>(&findings[a.batch]), complement);
  }
}

__global__ __launch_bounds__(kElementThreads) void normalise_entries(ConstMatrixView a,
                                                                     const std::uint64_t* largest,
                                                                     double* out) {
  const std::int64_t size = a.rows * a.cols;
  for (std::int64_t item = blockIdx.y; item < a.batch; item += gridDim.y) {
    const double factor = reciprocal_unit_of(largest[item]);
    for (std::int64_t e = first_element(); e < size; e += element_stride())
      out[item * size + e] = a.data[item * size + e] * factor;
  }
}

__global__ __launch_bounds__(kElementThreads) void restore_entries(double* x, std::int64_t count,
                                                                   std::int64_t batch,
                                                                   const std::uint64_t* largest) {
  for (std::int64_t item = blockIdx.y; item < batch; item += gridDim.y) {
    const double unit = unit_of(largest[item]);
    for (std::int64_t e = first_element(); e < count; e += element_stride()) x[item * count + e] *= unit;
  }
}

}  // namespace

void inspect(ConstMatrixView a, Part part, std::uint64_t* findings, cudaStream_t stream) {
  if (a.size() == 0) return;
  check(launch(inspect_entries, element_grid(a.rows * a.cols, a.batch), dim3(kElementThreads), 0, stream, a,
               part, findings));
}

void normalised(ConstMatrixView a, const std::uint64_t* largest, double* out, cudaStream_t stream) {
  if (a.size() == 0) return;
  check(launch(normalise_entries, element_grid(a.rows * a.cols, a.batch), dim3(kElementThreads), 0, stream, a,
               largest, out));
}

void restore_magnitude(double* x, std::int64_t count, std::int64_t batch, const std::uint64_t* largest,
                       cudaStream_t stream) {
  if (count * batch == 0) return;
  check(launch(restore_entries, element_grid(count, batch), dim3(kElementThreads), 0, stream, x, count, batch,
               largest));
}

}  // namespace aloft::cuda
