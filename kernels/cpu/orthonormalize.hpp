#pragma once
#include <algorithm>
#include <cstdint>

namespace aloft::cpu {

/// Rows of a block of orthonormalize(): enough to make the second level small, and a function of the shape
/// alone (thread-independent bits).
constexpr std::int64_t orthonormalize_rows(std::int64_t k) { return std::max<std::int64_t>(512, 4 * k); }
/// Blocks of an [m, k] matrix; the last takes the remainder.
constexpr std::int64_t orthonormalize_blocks(std::int64_t m, std::int64_t k) {
  return std::max<std::int64_t>(1, m / orthonormalize_rows(k));
}

/// From so many rows a column on, Gram matrices are tried first, summed over so many blocks of rows at most.
inline constexpr std::int64_t kTallEnough = 64, kGrams = 64;

}  // namespace aloft::cpu
