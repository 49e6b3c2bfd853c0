#pragma once
#include <cstdint>
#include <vector>

#include "pipeline/base/context.hpp"
#include "pipeline/counts/holdout.hpp"

// How many held-out positions scalars are chosen on, and how.

namespace aloft::offset {

/// Positions that the scalars of the recipe are settled on, where the slice has so many
/// (fit_lag_factors_memory() reckons with them).
inline constexpr std::int64_t kHoldoutPositions = 8192;

/// Evenly spread ones among them on which the search for scalars is made where all of them would take
/// minutes: as many as need 2^32 products for classes [V, width], from 512 on.
[[nodiscard]] std::int64_t screening_positions(std::int64_t vocab, std::int64_t width);

/// Nats at which a search on `few` of `all` ends, and at which weights fitted on all of them end, starting
/// from those of the few: a fit on m positions misses the best by about terms/2m, one Newton step mends that.
[[nodiscard]] double screening_tolerance(std::int64_t terms, const HoldoutPositions& few,
                                         const HoldoutPositions& all);
[[nodiscard]] double final_tolerance(std::int64_t terms, const HoldoutPositions& few,
                                     const HoldoutPositions& all);

/// rows[token] of every position's token `a` places before its latest: [positions, d]. rows: [V, d].
[[nodiscard]] Matrix rows_of_tokens(Context& ctx, ConstMatrixView rows, const HoldoutPositions& positions,
                                    std::int32_t a);

/// log p in single precision.
[[nodiscard]] std::vector<float> floats_of_logarithms(const std::vector<double>& p);

}  // namespace aloft::offset
