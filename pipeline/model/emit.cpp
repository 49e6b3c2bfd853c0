#include "pipeline/model/emit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "host/error.hpp"
#include "pipeline/model/rotary.hpp"

// Writes init.safetensors: from the canonical form to a checkpoint's tensors, with row order of rotary pairs,
// score scale, multipliers, fusion, orientation. One tensor is assembled at a time, so the workspace is that
// of the largest tensor, not of the model.

namespace aloft {
namespace {

using A = Architecture;

std::string layer_name(const std::string& name, std::int64_t layer) {
  std::string out = name;
  return out.replace(out.find("{layer}"), 7, std::to_string(layer));
}

std::vector<std::int64_t> matrix_shape(const A& arch, std::int64_t out, std::int64_t in) {
  return arch.orientation == A::Orientation::out_in ? std::vector{out, in} : std::vector{in, out};
}

/// rows[r] = the canonical row of a head that becomes the model's row r. The canonical pair i is (i, i +
/// R/2), R = rotary_dim, and turns by +tθ_i. For a model that turns the other way the two rows change places:
/// with z = a + ib the score of a pair is Re(conj(q) k e^{i(t−s)θ}); swapping makes z into i·conj(z) for q
/// and k alike, which turns conj(q) k into its conjugate, and so e^{−i(t−s)θ} gives the same real part.
std::vector<std::int64_t> rotary_rows(const A& arch, const ModelShape& shape) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(shape.head_dim));
  std::iota(rows.begin(), rows.end(), 0);
  const std::int64_t half = rotary_dim(arch, shape) / 2;
  for (std::int64_t i = 0; i < half; ++i) {
    const bool interleaved = arch.pairing == A::Pairing::interleaved;
    std::int64_t first = i, second = i + half;
    if (arch.rope_sign < 0) std::swap(first, second);
    rows[static_cast<std::size_t>(interleaved ? 2 * i : i)] = first;
    rows[static_cast<std::size_t>(interleaved ? 2 * i + 1 : i + half)] = second;
  }
  return rows;
}

/// What the query is multiplied by so that the model's score_scale·q·k is the canonical q·k/√head_dim.
float query_factor(const A& arch, const ModelShape& shape) {
  if (!arch.score_scale) return 1;
  return static_cast<float>(1 / (std::sqrt(static_cast<double>(shape.head_dim)) * *arch.score_scale));
}

/// What each row of a head's query is multiplied by: RoPE that is stretched may also enlarge what it turns.
std::vector<float> query_row_factors(const A& arch, const ModelShape& shape) {
  const double plain = query_factor(arch, shape), amplitude = rotary_amplitude(arch, shape);
  std::vector<float> out(static_cast<std::size_t>(shape.head_dim), static_cast<float>(plain));
  std::fill_n(out.begin(), rotary_dim(arch, shape), static_cast<float>(plain / (amplitude * amplitude)));
  return out;
}

float output_factor(const A& arch) { return static_cast<float>(1 / arch.residual_multiplier); }

/// Writes values times a factor, some at a time.
void append_scaled(SafetensorsWriter& writer, DType dtype, std::span<const float> values, float factor) {
  if (factor == 1) return writer.append_as(dtype, values);
  constexpr std::size_t kBlock = 1 << 16;
  std::vector<float> block;
  for (; !values.empty(); values = values.subspan(block.size())) {
    const auto part = values.first(std::min(kBlock, values.size()));
    block.assign(part.begin(), part.end());
    for (float& x : block) x *= factor;
    writer.append_as(dtype, block);
  }
}

/// [rows, cols] row-major to [cols, rows], in blocks that stay in the cache.
std::vector<float> transposed(std::span<const float> x, std::size_t rows, std::size_t cols) {
  constexpr std::size_t kBlock = 32;
  std::vector<float> out(x.size());
  for (std::size_t i0 = 0; i0 < rows; i0 += kBlock)
    for (std::size_t j0 = 0; j0 < cols; j0 += kBlock)
      for (std::size_t i = i0; i < std::min(rows, i0 + kBlock); ++i)
        for (std::size_t j = j0; j < std::min(cols, j0 + kBlock); ++j) out[j * rows + i] = x[i * cols + j];
  return out;
}

/// Appends one layer's tensors to the file, in the order that emitted_tensors() declares.
class LayerWriter {
 public:
  LayerWriter(const A& arch, const ModelShape& shape, DType dtype, SafetensorsWriter& writer)
      : arch_(arch),
        shape_(shape),
        dtype_(dtype),
        writer_(writer),
        rotary_(rotary_rows(arch, shape)),
        plain_(rotary_.size()),
        query_factors_(query_row_factors(arch, shape)),
        ones_(rotary_.size(), 1.0F) {
    std::iota(plain_.begin(), plain_.end(), 0);
  }

  void write(const LayerHeads& layer) {
    switch (arch_.fusion) {
      case A::Fusion::separate:
        for (const Part& part : parts(layer)) {
          for (std::int64_t h = 0; h < part.heads; ++h) add_head(part, h);
          flush();
        }
        break;
      case A::Fusion::concatenated:
        for (const Part& part : parts(layer))
          for (std::int64_t h = 0; h < part.heads; ++h) add_head(part, h);
        flush();
        break;
      case A::Fusion::interleaved_by_head:
        for (std::int64_t h = 0; h < shape_.heads; ++h)
          for (const Part& part : parts(layer)) add_head(part, h);
        flush();
        break;
    }
    // canonical output is [heads·head_dim, d]: the transpose of nn.Linear's W_O
    if (arch_.orientation == A::Orientation::in_out)
      append_scaled(writer_, dtype_, layer.output, output_factor(arch_));
    else
      append_scaled(writer_, dtype_, transposed(layer.output, layer.output.size() / width(), width()),
                    output_factor(arch_));
  }

 private:
  struct Part {
    const std::vector<float>& weights;  // [heads, head_dim, d]
    std::int64_t heads;
    const std::vector<std::int64_t>& rows;  // order within a head
    const std::vector<float>& factors;      // of a head's rows, as the model has them
  };

  [[nodiscard]] std::vector<Part> parts(const LayerHeads& layer) const {
    return {{layer.query, shape_.heads, rotary_, query_factors_},
            {layer.key, shape_.kv_heads, rotary_, ones_},
            {layer.value, shape_.kv_heads, plain_, ones_}};
  }
  [[nodiscard]] std::size_t width() const { return static_cast<std::size_t>(shape_.d_model); }

  void add_head(const Part& part, std::int64_t head) {
    for (std::size_t r = 0; r < part.rows.size(); ++r) {
      const auto* from =
          part.weights.data() + static_cast<std::size_t>(head * shape_.head_dim + part.rows[r]) * width();
      std::transform(from, from + width(), std::back_inserter(assembled_),
                     [factor = part.factors[r]](float x) { return x * factor; });
    }
  }

  void flush() {
    if (arch_.orientation == A::Orientation::in_out)
      writer_.append_as(dtype_, transposed(assembled_, assembled_.size() / width(), width()));
    else
      writer_.append_as(dtype_, assembled_);
    assembled_.clear();
  }

  const A& arch_;
  const ModelShape& shape_;
  DType dtype_;
  SafetensorsWriter& writer_;
  std::vector<std::int64_t> rotary_, plain_;
  std::vector<float> query_factors_, ones_;
  std::vector<float> assembled_;  // rows of the tensor being put together, [out, d]
};

/// A tensor that there is one of in a model.
struct ModelPart {
  const char* what;
  std::string name;
  const std::vector<float>* values;
  std::int64_t rows;  ///< [rows, d]; 1: a vector [d]
  double factor = 1;  ///< what they are written times
};

/// Those that `weights` hold, in file order.
std::vector<ModelPart> model_parts(const A& arch, const ModelShape& shape, const HeadWeights& weights) {
  // A tied head is the embedding as it is written: the final norm makes up for that and for the logits.
  const double embedding = 1 / arch.embedding_multiplier, head = 1 / arch.logits_multiplier,
               norm = arch.tied_head ? head / embedding : 1;
  std::vector<ModelPart> out{{"embedding", arch.embedding, &weights.embedding, shape.vocab, embedding},
                             {"head", arch.head, &weights.head, shape.vocab, head},
                             {"position table", arch.position_embedding, &weights.position, shape.context},
                             {"final norm", arch.final_norm, &weights.final_norm, 1, norm},
                             {"final norm's bias", arch.final_norm_bias, &weights.final_norm_bias, 1, norm}};
  std::erase_if(out, [](const ModelPart& part) { return part.values->empty(); });
  return out;
}

/// Every size right, every value finite and within the range of `dtype` once scaled as `arch` needs.
void check_weights(const A& arch, const ModelShape& shape, const HeadWeights& weights, DType dtype) {
  expects(weights.layers.size() == static_cast<std::size_t>(shape.layers), "emit: another number of layers");
  const double limit = dtype == DType::f16 ? 65504 : dtype == DType::bf16 ? 0x1.fep127 : 0x1.fffffep127;
  const auto check = [&](const std::string& what, const std::vector<float>& x, std::int64_t rows,
                         double scale) {
    expects(x.size() == static_cast<std::size_t>(rows * shape.d_model),
            "emit: " + what + " has another size");
    for (const float value : x)
      if (!(std::abs(static_cast<double>(value) * scale) <= limit))
        throw NumericError(fmt::format("{}: the value {} cannot be written as {}{}", what, value,
                                       dtype_name(dtype),
                                       dtype == DType::f16 ? "; --dtype bf16 and f32 reach further" : ""));
  };
  const double query = query_factor(arch, shape), output = output_factor(arch);
  for (std::size_t l = 0; l < weights.layers.size(); ++l) {
    const LayerHeads& layer = weights.layers[l];
    const std::string of = fmt::format("layer {} ", l);
    check(of + "query", layer.query, shape.heads * shape.head_dim, query);
    check(of + "key", layer.key, shape.kv_heads * shape.head_dim, 1);
    check(of + "value", layer.value, shape.kv_heads * shape.head_dim, 1);
    check(of + "output", layer.output, shape.heads * shape.head_dim, output);
  }
  for (const ModelPart& part : model_parts(arch, shape, weights))
    check(part.what, *part.values, part.rows, part.factor);
  expects(weights.mlp_output.empty() || weights.mlp_output.size() == weights.layers.size(),
          "emit: an MLP projection for every layer, or none");
  for (const auto& x : weights.mlp_output) check("MLP output", x, shape.mlp_width, output);
}

std::map<std::string, std::string> with_format(const std::map<std::string, std::string>& metadata) {
  auto out = metadata;
  out["format"] = "pt";  // Hugging Face refuses a file without it
  return out;
}

}  // namespace

std::vector<TensorInfo> emitted_tensors(const Architecture& arch, const ModelShape& shape,
                                        const HeadWeights& weights, DType dtype) {
  const std::int64_t d = shape.d_model, q = shape.heads * shape.head_dim,
                     kv = shape.kv_heads * shape.head_dim;
  std::vector<TensorInfo> out;
  const auto need_name = [&](const char* what, const std::string& name) {
    if (name.empty())
      throw UsageError(
          fmt::format("architecture {} does not name its {}, which this recipe writes", arch.name, what));
  };
  for (const ModelPart& part : model_parts(arch, shape, weights)) {
    need_name(part.what, part.name);
    out.push_back({part.name, dtype, part.rows == 1 ? std::vector{d} : std::vector{part.rows, d}});
  }
  if (!weights.mlp_output.empty()) need_name("MLP output projection", arch.mlp_output);
  for (std::int64_t l = 0; l < shape.layers; ++l) {
    if (arch.fusion == A::Fusion::separate) {
      out.push_back({layer_name(arch.query, l), dtype, matrix_shape(arch, q, d)});
      out.push_back({layer_name(arch.key, l), dtype, matrix_shape(arch, kv, d)});
      out.push_back({layer_name(arch.value, l), dtype, matrix_shape(arch, kv, d)});
    } else {
      out.push_back({layer_name(arch.qkv, l), dtype, matrix_shape(arch, q + 2 * kv, d)});
    }
    out.push_back({layer_name(arch.output, l), dtype, matrix_shape(arch, d, q)});
    if (!weights.mlp_output.empty())
      out.push_back({layer_name(arch.mlp_output, l), dtype, matrix_shape(arch, d, shape.mlp_width)});
  }
  return out;
}

void emit(const std::string& path, const Architecture& arch, const ModelShape& shape,
          const HeadWeights& weights, DType dtype, const std::map<std::string, std::string>& metadata) {
  check_shape(arch, shape);
  if (dtype != DType::f32 && dtype != DType::f16 && dtype != DType::bf16)
    throw UsageError(fmt::format("weights are written as F32, F16 or BF16, not {}", dtype_name(dtype)));
  check_weights(arch, shape, weights, dtype);
  SafetensorsWriter writer(path, with_format(metadata), emitted_tensors(arch, shape, weights, dtype));
  for (const ModelPart& part : model_parts(arch, shape, weights))
    append_scaled(writer, dtype, *part.values, static_cast<float>(part.factor));
  LayerWriter layers(arch, shape, dtype, writer);
  const auto width = static_cast<std::size_t>(shape.mlp_width), d = static_cast<std::size_t>(shape.d_model);
  for (std::size_t l = 0; l < weights.layers.size(); ++l) {
    layers.write(weights.layers[l]);
    if (weights.mlp_output.empty()) continue;
    const std::vector<float>& mlp = weights.mlp_output[l];
    if (arch.orientation == A::Orientation::in_out)
      append_scaled(writer, dtype, transposed(mlp, d, width), output_factor(arch));
    else
      append_scaled(writer, dtype, mlp, output_factor(arch));
  }
  writer.commit();
}

void save_heads(const std::string& path, const ModelShape& shape, const HeadWeights& weights,
                const std::map<std::string, std::string>& metadata) {
  check_weights(Architecture{}, shape, weights, DType::f32);  // the canonical form has no multipliers
  std::vector<TensorInfo> tensors;
  if (!weights.embedding.empty()) tensors.push_back({"embedding", DType::f32, {shape.vocab, shape.d_model}});
  for (std::int64_t l = 0; l < shape.layers; ++l) {
    const std::string prefix = fmt::format("layer{}.", l);
    tensors.push_back({prefix + "query", DType::f32, {shape.heads, shape.head_dim, shape.d_model}});
    tensors.push_back({prefix + "key", DType::f32, {shape.kv_heads, shape.head_dim, shape.d_model}});
    tensors.push_back({prefix + "value", DType::f32, {shape.kv_heads, shape.head_dim, shape.d_model}});
    tensors.push_back({prefix + "output", DType::f32, {shape.heads, shape.head_dim, shape.d_model}});
  }
  SafetensorsWriter writer(path, with_format(metadata), std::move(tensors));
  writer.append(std::span<const float>(weights.embedding));
  for (const LayerHeads& layer : weights.layers)
    for (const auto* part : {&layer.query, &layer.key, &layer.value, &layer.output})
      writer.append(std::span<const float>(*part));
  writer.commit();
}

}  // namespace aloft
