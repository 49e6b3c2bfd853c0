#pragma once
#include <cstdint>

#include "kernels/matrix.hpp"

namespace aloft {

/// Positions of a text and the classes that may come next, as vectors whose products say what comes:
/// F_t,kj = contexts_t,k · classes_j, for every term t of a position k and class j.
struct SoftmaxEvidence {
  ConstFloatView contexts;              ///< [positions, d], a batch item for each term
  ConstFloatView classes;               ///< [classes, d]
  const std::uint32_t* next = nullptr;  ///< [positions], each below classes.rows: what did come

  [[nodiscard]] std::int64_t terms() const { return contexts.batch; }
};

/// Log-linear models that share those products: with f_t,kj = scale_j F_t,kj − shift_j,
/// P(j | k) ∝ exp(base_j + Σ_t weights_t f_t,kj).
struct SoftmaxModels {
  std::int64_t count = 1;
  const float* base = nullptr;      ///< [classes], of all models
  const float* scale = nullptr;     ///< [count, classes]; null: 1
  const float* shift = nullptr;     ///< [count, classes]; null: 0
  const double* weights = nullptr;  ///< [count, terms]
};

/// Numbers that softmax_moments() gives for a position of so many terms.
[[nodiscard]] constexpr std::int64_t softmax_moment_count(std::int64_t terms) {
  return 1 + terms + terms * (terms + 1) / 2;
}

}  // namespace aloft
