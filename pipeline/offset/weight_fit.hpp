#pragma once
#include <cstdint>
#include <functional>
#include <vector>

namespace aloft::offset {

/// The evidence of some positions: features [count][terms][vocab] of positions first..first+count.
using Evidence = std::function<void(std::int64_t first, std::int64_t count, std::vector<double>& features)>;

struct WeightFit {
  std::vector<double> weights;  ///< [terms]
  double loss = 0;              ///< mean −log P(next), nats
};

/// Positions whose evidence is held at a time.
[[nodiscard]] std::int64_t positions_at_once(std::size_t terms);

/// logits_j = base_j + Σ_t weights_t · features_t,j at every position: the weights of largest mean
/// log-likelihood of `next`, by damped Newton from `start` (the problem is concave). base: [vocab].
[[nodiscard]] WeightFit fit_weights(const std::vector<double>& base, const std::vector<std::uint32_t>& next,
                                    const Evidence& evidence, std::vector<double> start);

/// The mean −log P(next) at given weights.
[[nodiscard]] double loss_at(const std::vector<double>& base, const std::vector<std::uint32_t>& next,
                             const Evidence& evidence, const std::vector<double>& weights);

/// Positions to use for a vocabulary: as many as keep the work of one pass within about a second, 4096 at
/// most.
[[nodiscard]] std::int64_t affordable_positions(std::int64_t vocab);

}  // namespace aloft::offset
