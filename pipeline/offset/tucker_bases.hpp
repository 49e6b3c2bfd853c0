#pragma once
#include <vector>

#include "pipeline/offset/log_ratios.hpp"

namespace aloft::offset {

/// What all lags share, on the device.
struct TuckerBases {
  Matrix source;  ///< S [vocab, d_s], rows of unit length
  Matrix target;  ///< U [vocab, d_o], UᵀDU = I where D = diag(p)
};

/// What choose_tucker() found.
struct TuckerChoice {
  Scalars scalars;
  TuckerBases bases;  ///< those the scalars were chosen with; empty where nothing was held out
};

/// Changes U so that UᵀDU = I, the space of its columns the same: [vocab, d_o], p: [vocab], on the host.
void make_orthonormal(Context& ctx, Matrix& target, const std::vector<double>& p);

/// From as many directions of the log-ratios as p asks for.
[[nodiscard]] TuckerBases bases_of(Context& ctx, const LogRatios& ratios, const FactorParams& p);

/// G_l = (SᵀDS)^-1 SᵀD M_l D U of every lag, before lag weights: [lags·d_s, d_o].
[[nodiscard]] Matrix cores_of(Context& ctx, const LogRatios& ratios, const TuckerBases& bases);

/// What these take, the ratios not included.
[[nodiscard]] Peak bases_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p);
[[nodiscard]] Peak cores_memory(const LinearOps& ops, const CountsShape& counts, const FactorParams& p);

}  // namespace aloft::offset
