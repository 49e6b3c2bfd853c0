#pragma once
#include <cstdint>
#include <vector>

#include "pipeline/offset/offset.hpp"

namespace aloft::offset {

/// Lags that this part of the family designs heads for: all of the layout's, the first, or none.
[[nodiscard]] std::int32_t designed_lags(OffsetPart part, const OffsetLayout& layout);

/// What a token's logit is without evidence, [vocab]. The estimator's own bias is made for the evidence of
/// heads; where there are none it is log p.
[[nodiscard]] const std::vector<double>& bias_of(const OffsetRequest& request);

/// How large everything is in a residual stream of scale 1, and the scales that follow from it. A squared
/// norm ends in 2. What is written at another scale is multiplied by it at the very end; what reads the
/// stream does so through a norm, which takes the scale out again.
struct ResidualBudget {
  double token2 = 0;     ///< of every row of the embedding
  double position2 = 0;  ///< of every row of the position table; 0 without one
  double amplitude = 0;  ///< of one coordinate of that table
  double gain = 1;       ///< what the first norm multiplies a token's own embedding by
  double epsilon = 1;    ///< designed heads write ε Σ_n S G_n
  double tau = 1;        ///< tied: the embedding holds τ U
  double top_bias = 0;   ///< largest |bias|
  double final_rms = 1;  ///< root mean square of the final residual, which its norm divides by
};
[[nodiscard]] ResidualBudget residual_budget(const OffsetRequest& request);

/// Squared norm of what every place starts with: a row of the embedding and one of the position table.
[[nodiscard]] double stream_norm2(const OffsetParams& p, const Architecture& arch,
                                  const OffsetLayout& layout);

}  // namespace aloft::offset
