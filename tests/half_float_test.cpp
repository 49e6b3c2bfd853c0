#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "host/safetensors.hpp"

// Oracle: the value of every 16-bit pattern from its definition (sign, exponent, mantissa, by ldexp in
// double), and rounding as a search for the nearest of those values. No bit trick is shared with the
// implementation.

namespace {

using namespace aloft;

struct Format {
  int exponent_bits, mantissa_bits;
};
constexpr Format kF16{5, 10}, kBf16{8, 7};

double value_of(Format f, std::uint32_t pattern) {
  const int bias = (1 << (f.exponent_bits - 1)) - 1;
  const int sign = static_cast<int>(pattern >> 15);
  const int exponent = static_cast<int>(pattern >> f.mantissa_bits) & ((1 << f.exponent_bits) - 1);
  const int mantissa = static_cast<int>(pattern) & ((1 << f.mantissa_bits) - 1);
  double magnitude = 0;
  if (exponent == (1 << f.exponent_bits) - 1)
    magnitude =
        mantissa == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  else if (exponent == 0)
    magnitude = std::ldexp(mantissa, 1 - bias - f.mantissa_bits);
  else
    magnitude = std::ldexp((1 << f.mantissa_bits) + mantissa, exponent - bias - f.mantissa_bits);
  return sign != 0 ? -magnitude : magnitude;
}

/// Nearest pattern to a finite x >= 0 by bisection over the finite patterns; the value after the last finite
/// one stands for infinity, as IEEE 754 rounds. Ties go to the even pattern.
std::uint16_t nearest(Format f, double x) {
  const std::uint32_t infinity = ((1u << f.exponent_bits) - 1) << f.mantissa_bits;
  const auto value = [&](std::uint32_t p) {
    return p < infinity ? value_of(f, p) : 2 * value_of(f, infinity - 1) - value_of(f, infinity - 2);
  };
  std::uint32_t low = 0, high = infinity;  // value(low) <= x
  if (x >= value(high)) return static_cast<std::uint16_t>(infinity);
  while (high - low > 1) {
    const std::uint32_t middle = (low + high) / 2;
    (value(middle) <= x ? low : high) = middle;
  }
  const double below = x - value(low), above = value(high) - x;
  if (below != above) return static_cast<std::uint16_t>(below < above ? low : high);
  return static_cast<std::uint16_t>(low % 2 == 0 ? low : high);
}

struct HalfCase {
  Format format;
  std::uint16_t (*to)(float);
  float (*from)(std::uint16_t);
};
const HalfCase kCases[] = {{kF16, to_f16, from_f16}, {kBf16, to_bf16, from_bf16}};

TEST(HalfFloat, EveryPatternHasItsValueAndRoundTrips) {
  for (const HalfCase& c : kCases) {
    for (std::uint32_t p = 0; p <= 0xffff; ++p) {
      const auto pattern = static_cast<std::uint16_t>(p);
      const double expected = value_of(c.format, p);
      const float widened = c.from(pattern);
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(widened)) << p;
      } else {
        ASSERT_EQ(static_cast<double>(widened), expected) << p;
        ASSERT_EQ(std::signbit(widened), p >= 0x8000) << p;  // -0 too
      }
      ASSERT_EQ(c.to(widened), pattern) << p;
    }
  }
}

TEST(HalfFloat, TiesAndTheirNeighboursRoundToNearestEven) {
  for (const HalfCase& c : kCases) {
    const std::uint32_t infinity = ((1u << c.format.exponent_bits) - 1) << c.format.mantissa_bits;
    for (std::uint32_t p = 0; p < infinity; ++p) {
      const double a = value_of(c.format, p);
      const double b = p + 1 < infinity ? value_of(c.format, p + 1) : 2 * a - value_of(c.format, p - 1);
      const double middle = a + (b - a) / 2;
      const auto tie = static_cast<float>(middle);
      ASSERT_EQ(static_cast<double>(tie), middle);
      for (const float x :
           {tie, std::nextafter(tie, 0.0F), std::nextafter(tie, std::numeric_limits<float>::infinity())}) {
        if (std::isinf(x)) continue;
        const std::uint16_t expected = nearest(c.format, x);
        ASSERT_EQ(c.to(x), expected) << x << " after pattern " << p;
        ASSERT_EQ(c.to(-x), expected | 0x8000) << -x;
      }
    }
  }
}

TEST(HalfFloat, EveryExponentAndManyMantissasAgreeWithTheOracle) {
  std::uint32_t state = 12345;  // a fixed linear congruential sequence
  for (std::uint32_t exponent = 0; exponent < 255; ++exponent)
    for (int i = 0; i < 400; ++i) {
      state = state * 1664525u + 1013904223u;
      const float x = std::bit_cast<float>((exponent << 23) | (state >> 9));
      for (const HalfCase& c : kCases) ASSERT_EQ(c.to(x), nearest(c.format, x)) << x;
    }
}

TEST(HalfFloat, LimitsByHand) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(to_f16(65504.0F), 0x7bff);                        // largest finite
  EXPECT_EQ(to_f16(std::nextafter(65520.0F, 0.0F)), 0x7bff);  // rounds down
  EXPECT_EQ(to_f16(65520.0F), 0x7c00);                        // tie goes up, to infinity
  EXPECT_EQ(to_f16(-1e30F), 0xfc00);
  EXPECT_EQ(to_f16(infinity), 0x7c00);
  EXPECT_EQ(to_f16(0x1p-24F), 0x0001);  // smallest subnormal
  EXPECT_EQ(to_f16(0x1p-25F), 0x0000);  // tie with zero
  EXPECT_EQ(to_f16(std::nextafter(0x1p-25F, 1.0F)), 0x0001);
  EXPECT_EQ(to_f16(0x1.8p-24F), 0x0002);                      // tie of 1 and 2: even
  EXPECT_EQ(to_f16(std::nextafter(0x1p-14F, 0.0F)), 0x0400);  // largest subnormals round to the first normal
  EXPECT_EQ(to_f16(-0.0F), 0x8000);
  EXPECT_EQ(to_bf16(1.0F), 0x3f80);
  EXPECT_EQ(to_bf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(to_bf16(-infinity), 0xff80);
  EXPECT_EQ(to_bf16(std::numeric_limits<float>::denorm_min()), 0x0000);
}

TEST(HalfFloat, NanStaysNan) {
  for (const std::uint32_t bits :
       {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffffffffu, 0x7f80ffffu}) {
    const float nan = std::bit_cast<float>(bits);
    for (const HalfCase& c : kCases) {
      EXPECT_TRUE(std::isnan(c.from(c.to(nan)))) << std::hex << bits;
      EXPECT_EQ(c.to(nan) >> 15, bits >> 31);
    }
  }
}

}  // namespace
