#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "pipeline/analysis/layer_group.hpp"
#include "pipeline/model/architecture.hpp"

// How a head spreads its attention by distance alone, when every token is the average token.

namespace aloft::analysis {

inline constexpr std::int64_t kLongestProfile = 256;

/// What does not depend on the layer.
struct PositionSetup {
  Architecture::Position kind = Architecture::Position::none;
  std::int64_t distances = 0;        ///< C
  std::vector<double> cosine, sine;  ///< RoPE: [C][rotary_dim/2] of distance times frequency
  std::vector<double> inputs;  ///< [rows, d]: RoPE: x̄, one row; learned: x_t of every position, C rows
};
/// rows: [V, d] of E; p: [V]; positions: the table [>= C, d] where they are learned. Nothing for models whose
/// positions are of another kind.
[[nodiscard]] std::optional<PositionSetup> position_setup(const Architecture& arch, const ModelShape& shape,
                                                          const std::vector<double>& rows,
                                                          const std::vector<double>& p,
                                                          const std::vector<float>& positions);

/// Biases of one layer's queries and keys, [H, d_h] and [KV, d_h]; either may be empty.
struct LayerBias {
  std::vector<float> query, key;
};

/// Queries and keys of a group's heads for every input of a setup.
struct HeadInputs {
  std::int64_t layers = 0, rows = 0;  ///< rows: inputs
  std::vector<double> query, key;     ///< [layers][rows, H·d_h], heads beside each other, with their bias
  std::vector<bool> rotating;         ///< [layers]
};
/// rotating: whether each layer's heads rotate. bias: one a layer, or none at all.
[[nodiscard]] HeadInputs head_inputs(Context& ctx, const PositionSetup& setup, const ModelShape& shape,
                                     const LayerGroup& group, const std::vector<bool>& rotating,
                                     const std::vector<LayerBias>& bias);
/// Attention by distance [C] of one head. scale: what its scores are multiplied by.
[[nodiscard]] std::vector<double> position_profile(const PositionSetup& setup, const ModelShape& shape,
                                                   const HeadInputs& inputs, std::int64_t layer,
                                                   std::int64_t head, double scale);

}  // namespace aloft::analysis
