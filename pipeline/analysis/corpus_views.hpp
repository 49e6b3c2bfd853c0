#pragma once
#include <cstdint>
#include <vector>

#include "pipeline/analysis/layer_group.hpp"
#include "pipeline/counts/counts.hpp"

// The corpus in the coordinates of a model's own embedding and head: everything that its attention is
// compared with (docs/analysis.md).

namespace aloft::analysis {

/// Token rows of a model on the device.
struct TokenRows {
  Matrix embedding;  ///< E [V, d]
  Matrix head;       ///< U [V, d]; empty where it is E
  [[nodiscard]] ConstMatrixView e() const { return embedding.cview(); }
  [[nodiscard]] ConstMatrixView u() const { return head.rows == 0 ? embedding.cview() : head.cview(); }
};

/// Of every lag: Eᵀ T_n X, and the same without what frequencies alone give, Eᵀ(T_n − 1 c_nᵀ)X.
struct Transitions {
  Matrix plain, centred;  ///< [lags][d, d]
};
/// x: [V, d], the rows that targets have.
[[nodiscard]] Transitions transitions(Context& ctx, const Counts& counts, ConstMatrixView e,
                                      ConstMatrixView x);

/// What the second paper correlates weights with.
struct PairViews {
  Matrix views;       ///< [6][d, d]: K2, K2T, K3, K3_composed, EtE, I
  Matrix eigenbasis;  ///< B [d, d]: eigenvectors of (K2 + K2ᵀ)/2 as columns, by falling |eigenvalue|
  static constexpr const char* kNames[6] = {"K2", "K2T", "K3", "K3_composed", "EtE", "I"};
};
/// Fewer than two lags: K3 is all zeros.
[[nodiscard]] PairViews pair_views(Context& ctx, const Counts& counts, ConstMatrixView e);

/// Pairs of the most frequent ids, to be weighted by a layer's attention.
class AttendedPairs {
 public:
  AttendedPairs(Context& ctx, const Counts& counts, const TokenRows& rows);
  /// attention_K2 of one layer of the group, [d, d].
  [[nodiscard]] Matrix weighted(Context& ctx, const ModelShape& shape, const LayerGroup& group,
                                std::int64_t layer) const;

 private:
  RealCsr pairs_;  ///< [ids, ids]: row = the later token, column = the earlier
  Matrix rows_;    ///< [ids, d] of E
  Matrix unit_;    ///< the same divided by their rms
};

/// x_i/rms(x_i) of every row; a row of zeros stays.
[[nodiscard]] std::vector<double> unit_rms_rows(const std::vector<double>& rows, std::int64_t d);

}  // namespace aloft::analysis
