#include <bit>

#include "host/safetensors.hpp"

// F16: 1 sign, 5 exponent (bias 15), 10 mantissa bits. BF16: the upper half of a float.

namespace aloft {
namespace {

constexpr std::uint32_t kInfinity = 0x7f800000;

/// x >> shift, rounded to nearest, ties to even. 1 <= shift <= 31.
constexpr std::uint32_t shift_round_even(std::uint32_t x, unsigned shift) {
  const std::uint32_t quotient = x >> shift;
  const std::uint32_t rest = x & ((std::uint32_t{1} << shift) - 1);
  const std::uint32_t half = std::uint32_t{1} << (shift - 1);
  return quotient + (rest > half || (rest == half && (quotient & 1) != 0) ? 1 : 0);
}

}  // namespace

std::uint16_t to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffff) > kInfinity) {  // rounding could carry a NaN into an infinity
    const auto top = static_cast<std::uint16_t>(bits >> 16);
    return (top & 0x7f) != 0 ? top : static_cast<std::uint16_t>(top | 0x40);
  }
  return static_cast<std::uint16_t>(
      shift_round_even(bits, 16));  // a carry out of the mantissa is the next binade
}

std::uint16_t to_f16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = (bits >> 16) & 0x8000;
  const std::uint32_t magnitude = bits & 0x7fffffff;
  const auto result = [&](std::uint32_t half) { return static_cast<std::uint16_t>(sign | half); };

  if (magnitude > kInfinity) {
    const std::uint32_t payload = (magnitude >> 13) & 0x3ff;
    return result(0x7c00 | (payload != 0 ? payload : 0x200));
  }
  const std::uint32_t exponent = magnitude >> 23;
  if (exponent >= 113) {                         // at least 2^-14: a normal F16, or too large
    if (exponent >= 143) return result(0x7c00);  // at least 2^16, infinity included
    return result(shift_round_even(magnitude - (112u << 23), 13));  // 65520 and above carry into infinity
  }
  if (exponent < 102) return result(0);  // below 2^-25: nearer to 0 than to 2^-24
  const std::uint32_t mantissa = (magnitude & 0x7fffff) | 0x800000;
  return result(shift_round_even(mantissa, 126 - exponent));  // in units of 2^-24
}

float from_bf16(std::uint16_t x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); }

float from_f16(std::uint16_t x) {
  const std::uint32_t sign = static_cast<std::uint32_t>(x & 0x8000) << 16;
  const std::uint32_t exponent = (x >> 10) & 0x1f;
  const std::uint32_t mantissa = x & 0x3ff;
  if (exponent == 0) {  // zero and subnormal: exact in a float
    const float value = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | sign);
  }
  const std::uint32_t widened = exponent == 0x1f ? 0xff : exponent + 112;
  return std::bit_cast<float>(sign | (widened << 23) | (mantissa << 13));
}

}  // namespace aloft
