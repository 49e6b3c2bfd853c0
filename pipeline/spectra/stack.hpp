#pragma once
#include <cstdint>
#include <vector>

#include "pipeline/base/context.hpp"
#include "pipeline/spectra/spectra.hpp"

namespace aloft {

/// The lags in the order a layer of lag `own` stacks them: own, then 1, 2, ... without own.
[[nodiscard]] std::vector<std::int32_t> stacking_order(std::int32_t own, std::int32_t lags);

/// Antisymmetric [d, d] matrix Σ_i weights[i] B_i: B_i is the part of lag order[i]'s `modes` largest planes
/// that lies outside the span of the planes taken from the lags before, (I − P) A (I − P). Its own planes are
/// kept whole, so the terms have orthogonal ranges; planes that vanish (below 1e-8 of the lag's σ₁) are
/// dropped. weights: [order.size()].
[[nodiscard]] Matrix stack_lags(Context& ctx, const SkewPlanes& planes,
                                const std::vector<std::int32_t>& order, const std::vector<double>& weights,
                                std::int64_t modes);
/// All that it allocates, however many modes.
[[nodiscard]] Peak stack_memory(const LinearOps& ops, std::int64_t d);

}  // namespace aloft
