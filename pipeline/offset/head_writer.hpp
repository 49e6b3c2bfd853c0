#pragma once
#include "pipeline/base/host_matrix.hpp"
#include "pipeline/model/model.hpp"
#include "pipeline/offset/layout.hpp"
#include "pipeline/offset/matching.hpp"
#include "pipeline/offset/position_offsets.hpp"

namespace aloft::offset {

/// Writes where the heads of a key-value group look, and what they carry, in the canonical form, for models
/// laid out by OffsetLayout. Scores are q·k/√d_h; queries and keys read what the norm before a block makes of
/// the residual stream.
class HeadWriter {
 public:
  /// amplitude: size of one coordinate of the position table (0 without one); gain: what the norm multiplies
  /// a token's own embedding by; both in a stream of scale 1. stream_scale: of what is written to it.
  HeadWriter(const ModelShape& shape, const OffsetLayout& layout, double gain, double amplitude,
             double stream_scale)
      : shape_(shape), layout_(layout), gain_(gain), amplitude_(amplitude), stream_scale_(stream_scale) {}

  /// Query heads that share a key-value head.
  [[nodiscard]] std::int64_t per_group() const { return shape_.heads / shape_.kv_heads; }
  /// Row of a matrix of the canonical form that is row r of that head.
  [[nodiscard]] std::int64_t row(std::int64_t head, std::int64_t r) const {
    return head * shape_.head_dim + r;
  }
  /// A matrix of the canonical form as m(row, coordinate).
  [[nodiscard]] HostView<float> rows(std::vector<float>& m) const { return {m, shape_.d_model}; }

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

  /// Row r of the group's values reads `value` at coordinate `from`; the same row of its heads' outputs
  /// writes output(c) at to + c, c < width.
  template <class Output>
  void write_row(std::int64_t group, std::int64_t r, std::int64_t from, double value, std::int64_t to,
                 std::int64_t width, const Output& output, LayerHeads& w) const {
    rows(w.value)(row(group, r), from) = static_cast<float>(value);
    write_outputs(group, r, to, width, output, w);
  }
  /// The second half alone.
  template <class Output>
  void write_outputs(std::int64_t group, std::int64_t r, std::int64_t to, std::int64_t width,
                     const Output& output, LayerHeads& w) const {
    const HostView<float> outputs = rows(w.output);
    for (std::int64_t h = group * per_group(); h < (group + 1) * per_group(); ++h)
      for (std::int64_t c = 0; c < width; ++c)
        outputs(row(h, r), to + c) = static_cast<float>(output(c) * stream_scale_);
  }

 private:
  void turn_rotary_pair(std::int64_t group, std::int64_t pair, double root, double angle,
                        LayerHeads& w) const;
  void turn_table_pair(std::int64_t group, std::int64_t pair, double root, double angle, LayerHeads& w) const;

  const ModelShape& shape_;
  const OffsetLayout& layout_;
  double gain_, amplitude_, stream_scale_;
};

}  // namespace aloft::offset
