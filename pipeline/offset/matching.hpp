#pragma once
#include "pipeline/offset/factors.hpp"

namespace aloft {

/// What an induction head needs beside the factors (science: section 5.4, recipe `induction`): a short code
/// of a token, by which a query finds the places where the same token was before, and a map that predicts
/// the token found.
struct Matching {
  std::int64_t d_m = 0, rank = 0;
  std::vector<double>
      code;  ///< [d_m, d_s]: principal directions of S under the unigram, whitened; E‖code S‖² = 1
  std::vector<double> value;   ///< [rank, d_s]
  std::vector<double> output;  ///< [rank, d_o]: logits S valueᵀ output Uᵀ; a token's own is 1 on average
};

/// The map is the regression of U on S under the unigram, (SᵀDS)⁻¹ SᵀDU, D = diag(p), reduced to `rank` where
/// S has more directions. @pre 1 <= d_m <= factors.d_s, rank >= 1
[[nodiscard]] Matching fit_matching(Context& ctx, const LagFactors& factors, std::int64_t d_m,
                                    std::int64_t rank);
/// What it takes beside the factors.
[[nodiscard]] Peak matching_memory(const LinearOps& ops, std::int64_t vocab, std::int64_t d_s,
                                   std::int64_t d_o);

}  // namespace aloft
