#pragma once
#include <span>

#include "pipeline/spectra/spectra.hpp"

namespace aloft {

/// Σ_k sigma_k (l_k r_kᵀ − r_k l_kᵀ) for every batch item; left, right: [batch][m, n], sigma: [batch][m] on
/// the host. Antisymmetric to the last bit.
[[nodiscard]] Matrix from_planes(Context& ctx, std::span<const double> sigma, ConstMatrixView left,
                                 ConstMatrixView right);
/// Invariant planes of antisymmetric x (ops.hpp: skew_spectrum).
[[nodiscard]] SkewPlanes planes_of(Context& ctx, ConstMatrixView x);

}  // namespace aloft
