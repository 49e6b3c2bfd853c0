#pragma once
#include <cstdint>
#include <vector>

namespace aloft {

/// How an attention head looks a fixed number of tokens back (science: section 5.4, "where to look"): the
/// score at distance D is sharpness · Σ_i weights[i] cos((D − offset) θ_i), largest at D = offset.
struct OffsetPattern {
  std::vector<double> weights;  ///< [frequencies] >= 0, sum 1
  double margin = 0;  ///< 1 − the largest Σ_i weights[i] cos((D − offset) θ_i) over D ≠ offset
};

/// The weights of largest margin over all distances 0..context−1, by linear programming.
/// @pre 0 <= offset < context
[[nodiscard]] OffsetPattern offset_pattern(const std::vector<double>& frequencies, std::int64_t offset,
                                           std::int64_t context);

/// A smooth preference for what is near: equal weights on the frequencies that turn by less than a radian
/// within `range` tokens but do turn within the context (where there is none, the one nearest 1/range), for
/// offset 0. By distance the sum then falls like a logarithm from `range` on. margin: 1 − its mean over the
/// farther half of the context.
/// @pre range >= 1, context >= 2
[[nodiscard]] OffsetPattern recency_pattern(const std::vector<double>& frequencies, double range,
                                            std::int64_t context);

/// For models with a table of positions: the `count` frequencies that tell all distances below `context`
/// apart best, picked out of a fine grid on (0, π) by the linear programme's own weights. Ascending.
[[nodiscard]] std::vector<double> table_frequencies(std::int64_t count, std::int64_t context);

/// Those of every count from `fewest` to `most`, in this order: one pass over the grid finds them all.
/// @pre 1 <= fewest <= most <= 48
[[nodiscard]] std::vector<std::vector<double>> table_frequencies(std::int64_t fewest, std::int64_t most,
                                                                 std::int64_t context);

/// Share of attention that a head of this pattern puts on its offset when all `context` distances compete.
[[nodiscard]] double mass_on_offset(const OffsetPattern& pattern, const std::vector<double>& frequencies,
                                    std::int64_t offset, std::int64_t context, double sharpness);

}  // namespace aloft
