#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>

#include "host/cuda_device.hpp"
#include "kernels/matrix.hpp"

// What LAPACK's drivers do before they start and cuSOLVER does not promise: look for NaN, and bring the
// matrix near magnitude one so that no square overflows or vanishes. Scaling by a power of two changes no
// digit.

namespace aloft::cuda {

enum class Part { all, lower, strict_lower };

/// Per item of a batch, the bits of its largest |entry|: they order as the numbers do. [batch]
using Magnitudes = Buffer<std::uint64_t>;

/// The largest |entry| of each item's part of a. Throws NumericError, naming the first one that is not
/// finite, like the CPU's operation of that name. Synchronises.
[[nodiscard]] Magnitudes require_finite(CudaDevice& device, const char* operation, ConstMatrixView a,
                                        Part part);

/// 2^e with 2^e <= m < 2^(e+1), of m's bits; kept within what has a reciprocal.
constexpr double unit_of(std::uint64_t bits) {
  const std::uint64_t exponent = bits >> 52;
  return std::bit_cast<double>((exponent < 1 ? 1 : exponent > 2045 ? 2045 : exponent) << 52);
}
constexpr double reciprocal_unit_of(std::uint64_t bits) {
  return std::bit_cast<double>((std::uint64_t{2046} << 52) - std::bit_cast<std::uint64_t>(unit_of(bits)));
}

/// out = a, every item divided by the unit of its magnitude (what lies outside the part inspected goes
/// along). out: [batch][rows, cols].
void normalised(ConstMatrixView a, const std::uint64_t* largest, double* out, cudaStream_t stream);
/// x [batch][count] times each item's unit: values of the normalised matrix become values of the matrix.
void restore_magnitude(double* x, std::int64_t count, std::int64_t batch, const std::uint64_t* largest,
                       cudaStream_t stream);

}  // namespace aloft::cuda
