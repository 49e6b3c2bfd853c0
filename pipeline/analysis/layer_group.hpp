#pragma once
#include <cstdint>
#include <vector>

#include "pipeline/base/context.hpp"
#include "pipeline/model/model.hpp"

namespace aloft::analysis {

/// Attention weights of g layers on the device, heads under each other (docs/analysis.md, Notation).
struct LayerGroup {
  Matrix query;   ///< [g][H·d_h, d]
  Matrix key;     ///< [g][KV·d_h, d]
  Matrix value;   ///< [g][KV·d_h, d]
  Matrix output;  ///< [g][H·d_h, d]
  [[nodiscard]] std::int64_t layers() const { return query.batch; }
};

[[nodiscard]] LayerGroup group_of(Context& ctx, const ModelShape& shape,
                                  const std::vector<LayerHeads>& layers);
/// Independent standard normal weights: layers `first`.. of the null's draws.
[[nodiscard]] LayerGroup gaussian_group(Context& ctx, const ModelShape& shape, std::int64_t first,
                                        std::int64_t layers, std::uint64_t seed);

/// Which of the KV·d_h rows each of the H·d_h expanded ones is, as permute() takes it.
[[nodiscard]] std::vector<std::int32_t> expanded_rows(const ModelShape& shape);
/// Rows of key or value heads, once for every query head that reads them: [g][KV·d_h, d] -> [g][H·d_h, d].
[[nodiscard]] Matrix expanded(Context& ctx, const ModelShape& shape, const Matrix& key_or_value);
/// The sum of query (or output) heads that share a key/value head: [g][H·d_h, d] -> [g][KV·d_h, d]. Then
/// Σ_h Q_hᵀK_g(h) = (that)ᵀ K.
[[nodiscard]] Matrix summed_by_group(Context& ctx, const ModelShape& shape, const Matrix& query_or_output);
/// The same memory as one matrix a head: [g·H][d_h, d].
[[nodiscard]] ConstMatrixView heads_of(const Matrix& of_query_heads, const ModelShape& shape);

}  // namespace aloft::analysis
