#pragma once
#include <cstdint>
#include <vector>

#include "kernels/softmax.hpp"
#include "pipeline/base/context.hpp"
#include "pipeline/counts/holdout.hpp"

namespace aloft::offset {

/// What P(next) is made of beside products, on the host: base, scale and shift as kernels/softmax.hpp has
/// them; the last two may be empty.
struct ModelTerms {
  std::vector<float> base;          ///< [classes]
  std::vector<float> scale, shift;  ///< [models][classes]
};

struct WeightFit {
  std::vector<double> weights;  ///< [terms]
  double loss = 0;              ///< mean −log P(next), nats
  std::vector<double> losses;   ///< [positions] of each, at weights that the last step may not have reached
};

/// The weights of largest mean log-likelihood of what came next, for every model of `start` [models][terms]:
/// damped Newton (the problem is concave), all models in the same passes over the evidence. A step that
/// promises less than `tolerance` nats is the last: it is taken without another pass, and the loss is less by
/// what it promises, which is right to the power 3/2 of that.
[[nodiscard]] std::vector<WeightFit> fit_weights(Context& ctx, const SoftmaxEvidence& evidence,
                                                 const ModelTerms& terms,
                                                 std::vector<std::vector<double>> start, double tolerance);

/// The same at given weights.
[[nodiscard]] std::vector<WeightFit> losses_at(Context& ctx, const SoftmaxEvidence& evidence,
                                               const ModelTerms& terms,
                                               std::vector<std::vector<double>> weights);
/// What either takes.
[[nodiscard]] Footprint weight_fit_memory(const LinearOps& ops, std::int64_t positions, std::int64_t width,
                                          std::int64_t classes, std::int64_t terms, std::int64_t models);

/// Of a mean over positions in blocks of text, which are not independent within a block: √Σ_b (Σ_{k in b}
/// (x_k − mean))² / n.
[[nodiscard]] double standard_error(const std::vector<double>& x, const std::vector<std::int64_t>& block);

}  // namespace aloft::offset
