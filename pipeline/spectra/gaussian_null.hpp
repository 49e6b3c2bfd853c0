#pragma once
#include <cstdint>
#include <vector>

#include "pipeline/base/context.hpp"

namespace aloft {

/// Spectrum of the antisymmetric part of random [d, d] matrices: what a number has to differ from to mean
/// anything.
struct GaussianNull {
  struct Sample {
    double ratio = 0;            ///< ‖M_A‖/‖M‖
    std::vector<double> planes;  ///< [d/2] of M_A
  };
  Sample kernel;  ///< M = W_Qᵀ W_K, both Gaussian [d, d]: an attention kernel before training
  Sample plain;   ///< M Gaussian
};
[[nodiscard]] GaussianNull measure_gaussian_null(Context& ctx, std::int64_t d, std::uint64_t seed);

}  // namespace aloft
