#pragma once
#include <span>
#include <string>
#include <vector>

#include "pipeline/model/architecture.hpp"

// How a checkpoint of an architecture lays the canonical form out: order and factors of a head's rows, which
// heads a tensor holds, names. emit.hpp writes by it, checkpoint.hpp reads by it.

namespace aloft {

enum class HeadPart { query, key, value };

/// head_dim rows of a checkpoint's tensor: one head of one part.
struct HeadBlock {
  HeadPart part = HeadPart::query;
  std::int64_t head = 0;
};

/// A tensor of such blocks, in order along its output axis: [blocks·head_dim, d], or that transposed.
struct HeadTensor {
  std::string name;  ///< with {layer}
  std::vector<HeadBlock> blocks;
};

/// The tensors of one layer that hold queries, keys and values, in the order in which emit writes them.
[[nodiscard]] std::vector<HeadTensor> head_tensors(const Architecture& arch, const ModelShape& shape);

/// A head's rows as the model has them: row r is the canonical row rows[r] times factors[r].
struct HeadRows {
  std::vector<std::int64_t> rows;  ///< [head_dim]
  std::vector<float> factors;      ///< [head_dim]
};

/// Of each part. RoPE orders the rows of queries and keys; queries bear what makes the model's
/// score_scale·q·k the canonical q·k/√head_dim, and what undoes the amplitude of a stretched RoPE.
[[nodiscard]] HeadRows head_rows(const Architecture& arch, const ModelShape& shape, HeadPart part);

/// What a query is multiplied by in the file, rotation's amplitude aside.
[[nodiscard]] float query_factor(const Architecture& arch, const ModelShape& shape);
/// What W_O and the MLP's output projection are multiplied by in the file.
[[nodiscard]] float output_factor(const Architecture& arch);

/// The tensor's name in that layer.
[[nodiscard]] std::string layer_name(const std::string& name, std::int64_t layer);
/// What a projection from `in` to `out` has as its shape.
[[nodiscard]] std::vector<std::int64_t> matrix_shape(const Architecture& arch, std::int64_t out,
                                                     std::int64_t in);

/// [rows, cols] row-major to [cols, rows], in blocks that stay in the cache.
[[nodiscard]] std::vector<float> transposed(std::span<const float> x, std::size_t rows, std::size_t cols);

}  // namespace aloft
