#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "pipeline/base/context.hpp"
#include "pipeline/model/model.hpp"

// The init every model has today (GPT-2): independent normal weights. It is the `random` recipe, the part of
// every other recipe that is not designed, and the yardstick of all scales.

namespace aloft {

struct UsualInit {
  double init_std = 0.02;       ///< standard deviation
  bool residual_scaled = true;  ///< W_O at init_std / √(2·layers) (GPT-2)
  std::uint64_t seed = 0;
  /// What the model multiplies by, for the usual weights to be the usual ones once emit has divided by it.
  double embedding_multiplier = 1, residual_multiplier = 1, logits_multiplier = 1;
  std::optional<double> score_scale;  ///< absent: 1/√head_dim
};

/// What a stream of random numbers is for. Values are part of the file format of results: never renumber.
enum class Part : std::uint64_t {
  query = 1,
  key = 2,
  value = 3,
  output = 4,
  embedding = 5,
  orthogonal = 6,         ///< matrix: 0 query, 1 key, 2 value, 3 output
  mimetic_query_key = 7,  ///< matrix: query head
  mimetic_value = 8,
  mimetic_start = 9,     ///< matrix: kv head; start of the subspace iteration
  invariant_basis = 10,  ///< matrix: 0 input directions, 1 query output, 2 key output directions
  head = 11,
  mlp_output = 12,
};

/// The fill_normal stream of one matrix of one layer: 0xC0 | part (8 bits) | layer (32) | matrix (16), from
/// the top. The tag in the top byte keeps compose apart from stages that count their streams from 0. layer <
/// 2^32, matrix < 2^16.
[[nodiscard]] std::uint64_t stream_of(Part part, std::int64_t layer, std::int64_t matrix = 0);

/// Standard deviation of the usual W_O in the canonical form: init_std, or init_std / √(2·layers), times
/// residual_multiplier.
[[nodiscard]] double output_std(const UsualInit& p, const ModelShape& shape);
/// The same of W_Q: init_std · √head_dim · score_scale; of a token's embedding; of the head.
[[nodiscard]] double query_std(const UsualInit& p, const ModelShape& shape);
[[nodiscard]] double embedding_std(const UsualInit& p);
[[nodiscard]] double head_std(const UsualInit& p);

/// √E‖M‖² of M = Σ_h W_Q,hᵀ W_K,g(h) under the usual init: d · query_std · init_std · √(heads · head_dim). An
/// entry of M is a sum of heads·head_dim products q·k; two of them share a q never and a k only with
/// different q (grouped queries), so they are uncorrelated, each of variance query_std² · init_std², and M
/// has d² entries.
[[nodiscard]] double usual_kernel_norm(const UsualInit& p, const ModelShape& shape);

/// Normal numbers [rows, cols], row-major, on the host; synchronises.
[[nodiscard]] std::vector<double> normal(Context& ctx, std::int64_t rows, std::int64_t cols,
                                         std::uint64_t seed, std::uint64_t stream, double stddev);
/// The same rounded to float.
[[nodiscard]] std::vector<float> normal_f32(Context& ctx, std::int64_t rows, std::int64_t cols,
                                            std::uint64_t seed, std::uint64_t stream, double stddev);

/// The usual init of one matrix of the canonical form; part: query, key, value or output.
[[nodiscard]] std::vector<float> usual_matrix(Context& ctx, const UsualInit& p, const ModelShape& shape,
                                              Part part, std::int64_t layer);

[[nodiscard]] std::vector<float> to_f32(const std::vector<double>& x);

}  // namespace aloft
