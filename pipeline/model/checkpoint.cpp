#include "pipeline/model/checkpoint.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "host/error.hpp"
#include "host/printable.hpp"
#include "pipeline/model/checkpoint_shape.hpp"
#include "pipeline/model/head_layout.hpp"

namespace aloft {
namespace {

using PartValues = std::array<std::vector<float>*, 3>;  ///< of query, key, value

/// The rows of a checkpoint's tensor, [blocks·head_dim, columns], put where the canonical form has them.
void undo_layout(const Architecture& arch, const ModelShape& shape, const HeadTensor& tensor,
                 std::span<const float> values, std::size_t columns, const PartValues& to) {
  const auto head_dim = static_cast<std::size_t>(shape.head_dim);
  const std::array<HeadRows, 3> orders{head_rows(arch, shape, HeadPart::query),
                                       head_rows(arch, shape, HeadPart::key),
                                       head_rows(arch, shape, HeadPart::value)};
  for (std::size_t b = 0; b < tensor.blocks.size(); ++b) {
    const auto part = static_cast<std::size_t>(tensor.blocks[b].part);
    const auto head = static_cast<std::size_t>(tensor.blocks[b].head);
    std::vector<float>& out = *to[part];
    out.resize(std::max(out.size(), (head + 1) * head_dim * columns));
    for (std::size_t r = 0; r < head_dim; ++r) {
      const std::size_t from = (b * head_dim + r) * columns,
                        at = (head * head_dim + static_cast<std::size_t>(orders[part].rows[r])) * columns;
      for (std::size_t c = 0; c < columns; ++c) out[at + c] = values[from + c] / orders[part].factors[r];
    }
  }
}

void divide(std::vector<float>& values, double factor) {
  if (factor == 1) return;
  for (float& x : values) x /= static_cast<float>(factor);
}

/// rows [n, d] of weights: their columns times gain. bias [n] gains what `shift` [d] gives through them;
/// empty where there was none.
void fold(std::vector<float>& rows, std::vector<float>& bias, std::span<const float> gain,
          std::span<const float> shift) {
  const std::size_t d = gain.size(), n = rows.size() / d;
  if (!shift.empty()) bias.resize(n, 0.0F);
  for (std::size_t r = 0; r < n; ++r) {
    float* const row = rows.data() + r * d;
    if (!shift.empty()) {
      double sum = bias[r];
      for (std::size_t c = 0; c < d; ++c) sum += static_cast<double>(row[c]) * static_cast<double>(shift[c]);
      bias[r] = static_cast<float>(sum);
    }
    for (std::size_t c = 0; c < d; ++c) row[c] *= gain[c];
  }
}

/// The gain of a layer's norm, by its name.
bool is_norm_gain(const TensorInfo& tensor, const std::string& layer_prefix) {
  const std::string& name = tensor.name;
  if (tensor.shape.size() != 1 || !name.starts_with(layer_prefix) || !name.ends_with(".weight")) return false;
  const std::string own = name.substr(layer_prefix.size());
  return own.find("norm") != std::string::npos || own.find("ln_") != std::string::npos;
}

}  // namespace

Checkpoint::Checkpoint(const std::string& path, const Architecture& arch)
    : files_(path), arch_(arch), names_(find_names(files_, arch)) {}

ModelShape Checkpoint::shape(const ModelFlags& flags, const ModelConfig& config) const {
  return checkpoint_shape(files_, arch_, names_, flags, config);
}

std::vector<float> Checkpoint::read(const std::string& name, const std::vector<std::int64_t>& shape,
                                    const std::string& because) const {
  expect_shape(files_, name, shape, because);
  return files_.read_float(name, shape);
}

CheckpointLayer Checkpoint::layer(const ModelShape& shape, std::int64_t l) const {
  expects(l >= 0 && l < names_.layers, "checkpoint: no such layer");
  const std::int64_t d = shape.d_model, width = shape.heads * shape.head_dim;
  const bool in_out = arch_.orientation == Architecture::Orientation::in_out;
  const std::string because = fmt::format("{} heads, {} key-value heads of {} dimensions in a model {} wide",
                                          shape.heads, shape.kv_heads, shape.head_dim, d);
  CheckpointLayer out;
  for (const HeadTensor& tensor : head_tensors(arch_, shape)) {
    const std::string name = names_.of(layer_name(tensor.name, l));
    const auto rows = static_cast<std::int64_t>(tensor.blocks.size()) * shape.head_dim;
    std::vector<float> weights = read(name, matrix_shape(arch_, rows, d), because);
    if (in_out) weights = transposed(weights, static_cast<std::size_t>(d), static_cast<std::size_t>(rows));
    undo_layout(arch_, shape, tensor, weights, static_cast<std::size_t>(d),
                {&out.heads.query, &out.heads.key, &out.heads.value});
    const std::string bias = bias_name(name);
    if (!bias.empty() && files_.contains(bias))
      undo_layout(arch_, shape, tensor, read(bias, {rows}, because), 1,
                  {&out.query_bias, &out.key_bias, &out.value_bias});
  }
  out.heads.output = read(names_.of(layer_name(arch_.output, l)), matrix_shape(arch_, d, width), because);
  if (!in_out)
    out.heads.output =
        transposed(out.heads.output, static_cast<std::size_t>(d), static_cast<std::size_t>(width));
  divide(out.heads.output, static_cast<double>(output_factor(arch_)));
  fold_norm(shape, l, out);
  return out;
}

void Checkpoint::fold_norm(const ModelShape& shape, std::int64_t l, CheckpointLayer& layer) const {
  if (!folds_norms()) return;
  const std::string because = fmt::format("a model {} wide", shape.d_model);
  const std::vector<float> gain =
      read(names_.of(layer_name(arch_.attention_norm, l)), {shape.d_model}, because);
  std::vector<float> shift;
  if (!arch_.attention_norm_bias.empty()) {
    const std::string name = names_.of(layer_name(arch_.attention_norm_bias, l));
    if (files_.contains(name)) shift = read(name, {shape.d_model}, because);
  }
  fold(layer.heads.query, layer.query_bias, gain, shift);
  fold(layer.heads.key, layer.key_bias, gain, shift);
  fold(layer.heads.value, layer.value_bias, gain, shift);
}

bool Checkpoint::folds_norms() const {
  return !arch_.attention_norm.empty() && files_.contains(names_.of(layer_name(arch_.attention_norm, 0)));
}

std::vector<float> Checkpoint::embedding(const ModelShape& shape) const {
  std::vector<float> out = read(names_.of(arch_.embedding), {shape.vocab, shape.d_model},
                                fmt::format("{} tokens in a model {} wide", shape.vocab, shape.d_model));
  divide(out, 1 / arch_.embedding_multiplier);
  return out;
}

/// Where the file has its head; "" where it has none. A language model inside a larger one may have it
/// outside.
std::string Checkpoint::head_name() const {
  if (arch_.head.empty()) return "";
  for (const std::string& name : {names_.of(arch_.head), arch_.head})
    if (files_.contains(name)) return name;
  return "";
}

std::vector<float> Checkpoint::head(const ModelShape& shape) const {
  if (arch_.tied_head) return embedding(shape);
  const std::string own = head_name();
  std::vector<float> out = read(own.empty() ? names_.of(arch_.embedding) : own, {shape.vocab, shape.d_model},
                                fmt::format("{} tokens in a model {} wide", shape.vocab, shape.d_model));
  divide(out, 1 / arch_.logits_multiplier);
  return out;
}

std::optional<std::vector<float>> Checkpoint::positions(const ModelShape& shape) const {
  if (arch_.position != Architecture::Position::learned) return std::nullopt;
  return read(names_.of(arch_.position_embedding), {shape.context, shape.d_model},
              fmt::format("{} positions in a model {} wide", shape.context, shape.d_model));
}

std::vector<std::string> Checkpoint::notes() const {
  std::vector<std::string> out;
  const auto note = [&](const std::string& text) {
    out.push_back(fmt::format("note: {}: {}", files_.origin(), text));
  };
  if (!names_.prefix.empty())
    note(fmt::format("the names of its tensors begin with '{}', which is read as if it were not there",
                     printable(names_.prefix)));
  if (!names_.dropped.empty())
    note(fmt::format("its tensors are named without '{}', as those of a model without head",
                     printable(names_.dropped)));
  if (!arch_.tied_head && head_name().empty())
    note(fmt::format("has no '{}': the embedding is taken as output head", names_.of(arch_.head)));
  if (folds_norms()) {
    note(fmt::format("queries, keys and values are read as they act behind the gains of '{}' and its like",
                     printable(names_.of(layer_name(arch_.attention_norm, 0)))));
    return out;
  }
  const std::string pattern = names_.of(arch_.output);
  const std::string layer = layer_name(pattern.substr(0, pattern.find("{layer}") + 7), 0) + ".";
  for (const std::string& name : files_.names())
    if (is_norm_gain(files_.info(name), layer)) {
      note(fmt::format("the gains of its norms ('{}', ...) are not part of the heads that are read",
                       printable(name)));
      break;
    }
  return out;
}

}  // namespace aloft
