#pragma once
#include <cstdint>

#include "pipeline/base/context.hpp"
#include "pipeline/model/model.hpp"
#include "pipeline/recipes/spectral_profile.hpp"

namespace aloft::recipes {

/// What the paper "attention views" reports for a layer at relative depth 0..1, for a product Q Kᵀ of this
/// rank.
struct DepthTargets {
  ProfileTarget product;   ///< effective rank and top-8 energy of Q Kᵀ, both counted in units of rank/256
  double value_ratio = 0;  ///< ‖V‖/‖Q‖
};
[[nodiscard]] DepthTargets targets_at(double depth, std::int64_t rank);

/// The five invariants (and their neighbours) of one layer as it will be written.
/// Matrices: Q [heads·head_dim, d], K and V [kv_heads·head_dim, d].
struct InvariantMeasures {
  double query_key_kl = 0;       ///< KL of normalised singular profiles, Q‖K
  double query_value_kl = 0;     ///< Q‖V
  double value_mp_kl = 0;        ///< V‖Marchenko–Pastur
  double query_mp_kl = 0;        ///< Q‖Marchenko–Pastur
  double query_norm = 0;         ///< ‖Q‖
  double value_query_ratio = 0;  ///< ‖V‖/‖Q‖
  double effective_rank = 0;     ///< of Q Kᵀ
  double top_energy = 0;         ///< of Q Kᵀ, top `top` singular values
  double kernel_asymmetry = 0;   ///< ‖W − Wᵀ‖/‖W‖, W = Σ_h W_Q,hᵀ W_K,g(h)
  double kernel_norm = 0;        ///< ‖W‖
};
[[nodiscard]] InvariantMeasures measure_invariants(Context& ctx, const ModelShape& shape,
                                                   const LayerHeads& heads, std::int64_t top);

}  // namespace aloft::recipes
