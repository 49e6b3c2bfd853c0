#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "host/error.hpp"
#include "pipeline/base/json_fields.hpp"
#include "pipeline/model/model_config.hpp"

// Hugging Face config.json. Families spell the same size differently, and a file may hold any number of keys
// that are none of our business, so unknown keys are ignored; a known key with a value we cannot use is an
// error.

namespace aloft {
namespace {

/// Model types whose attention tensors and scores are exactly those of a built-in architecture.
std::string architecture_of(const std::string& model_type) {
  if (model_type == "llama" || model_type == "mistral" || model_type == "qwen2") return "llama";
  if (model_type == "gpt2") return "gpt2";
  if (model_type == "gpt_neox") return "neox";
  return "";
}

/// The value under whichever of the names is there; two that disagree are an error.
std::optional<std::int64_t> size_under(JsonFields& fields, const std::vector<std::string>& names) {
  std::optional<std::int64_t> out;
  for (const std::string& name : names) {
    const auto value = fields.positive(name);
    if (value && out && *value != *out)
      fields.fail(name, fmt::format("{} contradicts {} under another name", *value, *out));
    if (value) out = value;
  }
  return out;
}

std::optional<double> real_under(JsonFields& fields, const std::vector<std::string>& names, double low,
                                 double high) {
  std::optional<double> out;
  for (const std::string& name : names) {
    const auto value = fields.real(name, low, high, /*open=*/true);
    if (value && out && *value != *out)
      fields.fail(name, fmt::format("{} contradicts {} under another name", *value, *out));
    if (value) out = value;
  }
  return out;
}

constexpr double kMaxBase = 1e12;

/// `rope_scaling` (or, in newer files, `rope_parameters`, which also holds base and fraction).
void read_rope_parameters(ModelConfig& c, JsonFields fields) {
  auto type = fields.text("rope_type");
  if (!type) type = fields.text("type");
  if (type) c.rope_scaling = *type == "default" ? "none" : *type;
  c.rope_scaling_factor = fields.real("factor", 0, 1e6, /*open=*/true);
  if (c.rope_scaling == "linear" && !c.rope_scaling_factor)
    fields.fail("factor", "is missing (scaling is linear)");
  if (const auto base = fields.real("rope_theta", 1, kMaxBase, /*open=*/true)) c.rope_base = base;
  if (const auto share = fields.real("partial_rotary_factor", 0, 1, /*open=*/true)) c.rotary_fraction = share;
}

/// Options that change what the scores are: the tensors would load and mean something else.
void refuse_other_scores(JsonFields& fields, const std::string& architecture) {
  if (architecture != "gpt2") return;
  if (fields.boolean("scale_attn_by_inverse_layer_idx").value_or(false))
    fields.fail("scale_attn_by_inverse_layer_idx", "is true; scores scaled by depth are not supported");
  if (!fields.boolean("scale_attn_weights").value_or(true))
    fields.fail("scale_attn_weights",
                "is false; write an architecture file with attention.score_scale 1 instead");
}

}  // namespace

ModelConfig parse_model_config(const std::string& json_text, const std::string& origin) {
  const nlohmann::json json = parse_json_object(json_text, origin);
  JsonFields fields(json, origin);
  ModelConfig c;
  const std::string model_type = fields.text("model_type").value_or("");
  c.architecture = architecture_of(model_type);
  refuse_other_scores(fields, c.architecture);

  c.layers = size_under(fields, {"num_hidden_layers", "n_layer"});
  c.heads = size_under(fields, {"num_attention_heads", "n_head"});
  c.kv_heads = size_under(fields, {"num_key_value_heads"});
  c.head_dim = size_under(fields, {"head_dim"});
  c.d_model = size_under(fields, {"hidden_size", "n_embd"});
  c.mlp_width = size_under(fields, {"intermediate_size", "n_inner"});
  c.context = size_under(fields, {"max_position_embeddings", "n_positions"});
  c.vocab = size_under(fields, {"vocab_size"});
  if (c.heads && c.kv_heads && *c.heads % *c.kv_heads != 0)
    fields.fail("num_key_value_heads", fmt::format("{} does not divide the {} heads", *c.kv_heads, *c.heads));
  if (c.heads && c.d_model && !c.head_dim) {
    if (*c.d_model % *c.heads != 0)
      fields.fail(fields.has("n_embd") ? "n_embd" : "hidden_size",
                  fmt::format("{} is not a multiple of the {} heads, and head_dim is not given", *c.d_model,
                              *c.heads));
    c.head_dim = *c.d_model / *c.heads;
  }

  c.rope_base = real_under(fields, {"rope_theta", "rotary_emb_base"}, 1, kMaxBase);
  c.rotary_fraction = real_under(fields, {"rotary_pct", "partial_rotary_factor"}, 0, 1);
  if (const auto rotating = fields.positive("rotary_dim"); rotating && c.head_dim && !c.rotary_fraction) {
    const auto width = static_cast<double>(*c.head_dim), wanted = static_cast<double>(*rotating);
    if (wanted > width)
      fields.fail("rotary_dim", fmt::format("{} is more than the head dimension {}", wanted, width));
    double share = wanted / width;
    if (std::floor(share * width) < wanted) share = std::nextafter(share, 2.0);  // rotary_dim() truncates
    c.rotary_fraction = share;
  }
  for (const char* name : {"rope_scaling", "rope_parameters"})
    if (const auto inner = fields.object(name)) read_rope_parameters(c, *inner);

  c.init_std = fields.real("initializer_range", 0, 100, /*open=*/true);
  c.tied_head = fields.boolean("tie_word_embeddings");
  c.attention_bias = fields.boolean("attention_bias");
  if (model_type == "qwen2") c.attention_bias = true;  // always on q, k and v; the file does not say so
  return c;
}

}  // namespace aloft
