#pragma once
#include "pipeline/offset/layout.hpp"
#include "pipeline/offset/matching.hpp"
#include "pipeline/position_offsets.hpp"
#include "pipeline/values.hpp"

namespace aloft::recipes {

/// Writes where the heads of a key-value group look, in the canonical form, for models laid out by
/// OffsetLayout. Scores are q·k/√d_h; queries and keys read what the norm before a block makes of the
/// residual stream.
class HeadWriter {
 public:
  /// amplitude: size of one coordinate of the position table (0 without one); gain: what the norm multiplies
  /// a token's own embedding by.
  HeadWriter(const ModelShape& shape, const OffsetLayout& layout, double gain, double amplitude)
      : s_(shape), at_(layout), gain_(gain), amplitude_(amplitude) {}

  [[nodiscard]] std::int64_t per_group() const { return s_.heads / s_.kv_heads; }
  /// Where row r of a head begins in query, key (by group), value (by group) and output.
  [[nodiscard]] std::int64_t row(std::int64_t head, std::int64_t r) const {
    return (head * s_.head_dim + r) * s_.d_model;
  }

  void clear(std::int64_t group, LayerHeads& w) const;
  /// Adds scores of sharpness · Σ_i weights_i cos((distance − offset) θ_i) to those of a group's heads.
  void look(std::int64_t group, std::int64_t offset, const OffsetPattern& pattern, double sharpness,
            LayerHeads& w) const;
  /// Adds a look `offset` tokens back.
  void look_back(std::int64_t group, std::int64_t offset, double sharpness, LayerHeads& w) const;
  /// Adds a preference for what is near, as the heads of trained models have on average over contents
  /// (profiles/training.md): by `recency` half-way through the layers, 4/3 of it in the first, 2/3 in the
  /// last, and with reaches of 1, 2, 4, ... dealt to the groups of all layers in turn.
  void look_near(std::int64_t layer, std::int64_t group, double recency, LayerHeads& w) const;
  /// Adds scores of sharpness · ⟨code S_query, c⟩, where the key's place holds c · size in the layout's match
  /// coordinates. gain: of the norm before this layer.
  void match(std::int64_t group, const Matching& m, double sharpness, double size, double gain,
             LayerHeads& w) const;

 private:
  const ModelShape& s_;
  const OffsetLayout& at_;
  double gain_, amplitude_;
};

}  // namespace aloft::recipes
