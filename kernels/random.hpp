#pragma once
#include <cmath>
#include <cstdint>

// Counter-based random numbers: a pure function of (seed, stream, index), so that any element can be made
// anywhere, in any order, on any backend. Philox 4x32-10 of Salmon, Moraes, Dror, Shaw, "Parallel random
// numbers: as easy as 1, 2, 3" (SC 2011); normals by Box and Muller (1958).

#ifdef __CUDACC__
#define ALOFT_HOST_DEVICE __host__ __device__
#else
#define ALOFT_HOST_DEVICE
#endif

namespace aloft {

struct PhiloxBlock {
  std::uint32_t x[4];
};

/// Ten rounds of Philox 4x32. counter [4], key [2].
ALOFT_HOST_DEVICE constexpr PhiloxBlock philox4x32(PhiloxBlock counter, std::uint32_t key0,
                                                   std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * counter.x[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * counter.x[2];
    counter = {{static_cast<std::uint32_t>(b >> 32) ^ counter.x[1] ^ key0, static_cast<std::uint32_t>(b),
                static_cast<std::uint32_t>(a >> 32) ^ counter.x[3] ^ key1, static_cast<std::uint32_t>(a)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

/// 128 random bits, number `block` of (seed, stream).
ALOFT_HOST_DEVICE constexpr PhiloxBlock random_block(std::uint64_t seed, std::uint64_t stream,
                                                     std::uint64_t block) {
  return philox4x32({{static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                      static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)}},
                    static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

/// The upper 53 bits of (high, low) as a number in [0, 1).
ALOFT_HOST_DEVICE constexpr double unit_interval(std::uint32_t high, std::uint32_t low) {
  const std::uint64_t bits = (std::uint64_t{high} << 32 | low) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

struct NormalPair {
  double even, odd;
};

/// Elements 2·block and 2·block + 1 of the standard normal stream (seed, stream).
ALOFT_HOST_DEVICE inline NormalPair normal_pair(std::uint64_t seed, std::uint64_t stream,
                                                std::uint64_t block) {
  const PhiloxBlock bits = random_block(seed, stream, block);
  const double u = unit_interval(bits.x[0], bits.x[1]) + 0x1p-53;  // (0, 1]: its logarithm is finite
  const double angle = 6.283185307179586 * unit_interval(bits.x[2], bits.x[3]);
  const double radius = std::sqrt(-2 * std::log(u));
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

}  // namespace aloft
