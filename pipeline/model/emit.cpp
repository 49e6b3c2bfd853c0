#include "pipeline/model/emit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "host/error.hpp"
#include "pipeline/model/head_layout.hpp"

// Writes init.safetensors: from the canonical form to a checkpoint's tensors, with row order of rotary pairs,
// score scale, multipliers, fusion, orientation. One tensor is assembled at a time, so the workspace is that
// of the largest tensor, not of the model.

namespace aloft {
namespace {

using A = Architecture;

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

/// Appends one layer's tensors to the file, in the order that emitted_tensors() declares.
class LayerWriter {
 public:
  LayerWriter(const A& arch, const ModelShape& shape, DType dtype, SafetensorsWriter& writer)
      : arch_(arch), shape_(shape), dtype_(dtype), writer_(writer), tensors_(head_tensors(arch, shape)) {
    for (const HeadPart part : {HeadPart::query, HeadPart::key, HeadPart::value})
      rows_.push_back(head_rows(arch, shape, part));
  }

  void write(const LayerHeads& layer) {
    for (const HeadTensor& tensor : tensors_) {
      for (const HeadBlock& block : tensor.blocks) add_head(layer, block);
      flush();
    }
    // canonical output is [heads·head_dim, d]: the transpose of nn.Linear's W_O
    if (arch_.orientation == A::Orientation::in_out)
      append_scaled(writer_, dtype_, layer.output, output_factor(arch_));
    else
      append_scaled(writer_, dtype_, transposed(layer.output, layer.output.size() / width(), width()),
                    output_factor(arch_));
  }

 private:
  [[nodiscard]] std::size_t width() const { return static_cast<std::size_t>(shape_.d_model); }

  void add_head(const LayerHeads& layer, const HeadBlock& block) {
    const std::vector<float>& weights = block.part == HeadPart::query ? layer.query
                                        : block.part == HeadPart::key ? layer.key
                                                                      : layer.value;
    const HeadRows& order = rows_[static_cast<std::size_t>(block.part)];
    for (std::size_t r = 0; r < order.rows.size(); ++r) {
      const auto* from =
          weights.data() + static_cast<std::size_t>(block.head * shape_.head_dim + order.rows[r]) * width();
      std::transform(from, from + width(), std::back_inserter(assembled_),
                     [factor = order.factors[r]](float x) { return x * factor; });
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
  std::vector<HeadTensor> tensors_;
  std::vector<HeadRows> rows_;    // of query, key, value
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
  const std::int64_t d = shape.d_model, q = shape.heads * shape.head_dim;
  const std::vector<HeadTensor> tensors = head_tensors(arch, shape);
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
    for (const HeadTensor& t : tensors)
      out.push_back({layer_name(t.name, l), dtype,
                     matrix_shape(arch, static_cast<std::int64_t>(t.blocks.size()) * shape.head_dim, d)});
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
