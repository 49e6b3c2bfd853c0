#pragma once
#include <cstdint>

#include "pipeline/base/context.hpp"

namespace aloft::recipes {

/// Orthonormal columns [rows, cols], rows >= cols, uniformly distributed (QR of a normal matrix with diag(R)
/// >= 0: Mezzadri, "How to generate random matrices from the classical compact groups", 2007). Asynchronous.
[[nodiscard]] Matrix haar_columns(Context& ctx, std::int64_t rows, std::int64_t cols, std::uint64_t seed,
                                  std::uint64_t stream);

}  // namespace aloft::recipes
