#include "kernels/cuda/magnitude.cuh"

#include "kernels/cuda/each_element.cuh"
#include "kernels/cuda/warp.cuh"
#include "kernels/not_finite.hpp"

namespace aloft::cuda {
namespace {

constexpr std::uint64_t kMagnitude = ~std::uint64_t{0} >> 1;     // all but the sign
constexpr std::uint64_t kInfinity = std::uint64_t{0x7ff} << 52;  // NaNs are above it
using Word = unsigned long long;                                 // what atomicMax takes
static_assert(sizeof(Word) == sizeof(std::uint64_t));

/// findings [batch + 1], zero before: each item's largest |entry| as bits, and last ~index of the first entry
/// of the whole batch that is not finite (0: all are).
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
    largest = largest_to_lane_0(largest);
    complement = largest_to_lane_0(complement);
    if (lane() != 0) continue;
    if (largest != 0) atomicMax(reinterpret_cast<Word*>(&findings[item]), largest);
    if (complement != 0) atomicMax(reinterpret_cast<Word*>(&findings[a.batch]), complement);
  }
}

__device__ void normalise_entry(std::int64_t item, std::int64_t e, ConstMatrixView a,
                                const std::uint64_t* largest, double* out) {
  const std::int64_t at = item * a.rows * a.cols + e;
  out[at] = a.data[at] * reciprocal_unit_of(largest[item]);
}

__device__ void restore_entry(std::int64_t item, std::int64_t e, double* x, std::int64_t count,
                              const std::uint64_t* largest) {
  x[item * count + e] *= unit_of(largest[item]);
}

}  // namespace

Magnitudes require_finite(CudaDevice& device, const char* operation, ConstMatrixView a, Part part) {
  auto findings = zeros<std::uint64_t>(device, static_cast<std::size_t>(a.batch + 1));
  if (a.size() != 0)
    check(launch(inspect_entries, element_grid(a.rows * a.cols, a.batch), kElementThreads, 0, device.stream(),
                 a, part, findings.data()));
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

void normalised(ConstMatrixView a, const std::uint64_t* largest, double* out, cudaStream_t stream) {
  for_each_element_of_batch<normalise_entry>(stream, a.batch, a.rows * a.cols, a, largest, out);
}

void restore_magnitude(double* x, std::int64_t count, std::int64_t batch, const std::uint64_t* largest,
                       cudaStream_t stream) {
  for_each_element_of_batch<restore_entry>(stream, batch, count, x, count, largest);
}

}  // namespace aloft::cuda
