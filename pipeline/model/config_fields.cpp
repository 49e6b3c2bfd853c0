#include "pipeline/model/config_fields.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

// Families spell the same thing differently, and a file may hold any number of keys that are none of our
// business, so unknown keys are ignored; a known key with a value we cannot use is an error.

namespace aloft {
namespace {

using nlohmann::json;

constexpr double kMaxBase = 1e12;
constexpr std::int64_t kFarthest = 8;  // tokens that a designed head looks back at most (offset/layout.cpp)

/// The value under whichever of the names is there; two that disagree are an error.
template <class T, class Read>
std::optional<T> under(JsonFields& fields, const std::vector<std::string>& names, const Read& read) {
  std::optional<T> out;
  for (const std::string& name : names) {
    const std::optional<T> value = read(name);
    if (value && out && *value != *out)
      fields.fail(name, fmt::format("{} contradicts {} under another name", *value, *out));
    if (value) out = value;
  }
  return out;
}

std::optional<std::int64_t> size_under(JsonFields& fields, const std::vector<std::string>& names) {
  return under<std::int64_t>(fields, names, [&](const std::string& n) { return fields.positive(n); });
}

std::optional<double> real_under(JsonFields& fields, const std::vector<std::string>& names, double low,
                                 double high) {
  return under<double>(fields, names,
                       [&](const std::string& n) { return fields.real(n, low, high, /*open=*/true); });
}

std::vector<double> numbers(JsonFields& fields, const json& object, const std::string& name) {
  std::vector<double> out;
  if (!fields.has(name)) return out;
  if (!object[name].is_array()) fields.fail(name, "an array of numbers is needed");
  for (const json& x : object[name]) {
    if (!x.is_number() || !(x.get<double>() > 0)) fields.fail(name, "numbers above 0 are needed");
    out.push_back(x.get<double>());
  }
  return out;
}

RopeScaling read_scaling(const json& object, JsonFields& fields, std::string type) {
  if (type == "default" || type == "mrope") type = "none";  // mrope: sections, equal for text
  if (type == "su") type = "longrope";                      // its former name
  RopeScaling s;
  s.type = type;
  s.factor = fields.real("factor", 0, 1e6, /*open=*/true).value_or(0);  // 0: from the contexts
  if (type == "linear" && s.factor == 0) fields.fail("factor", "is missing (scaling is linear)");
  s.original_context = fields.positive("original_max_position_embeddings").value_or(0);
  s.low_freq_factor = fields.real("low_freq_factor", 0, 1e6, true).value_or(s.low_freq_factor);
  s.high_freq_factor = fields.real("high_freq_factor", 0, 1e6, true).value_or(s.high_freq_factor);
  s.beta_fast = fields.real("beta_fast", 0, 1e6, true).value_or(s.beta_fast);
  s.beta_slow = fields.real("beta_slow", 0, 1e6, true).value_or(s.beta_slow);
  s.truncate = fields.boolean("truncate").value_or(true);
  s.attention_factor = fields.real("attention_factor", 0, 1e6, true);
  s.mscale = fields.real("mscale", 0, 1e6);
  s.mscale_all_dim = fields.real("mscale_all_dim", 0, 1e6);
  s.short_factor = numbers(fields, object, "short_factor");
  s.long_factor = numbers(fields, object, "long_factor");
  if (!s.short_factor.empty()) s.type = "longrope";  // Phi-3's files have called it yarn too
  return s;
}

/// `rope_scaling`, or in newer files `rope_parameters`, which also holds base and share.
ModelConfig read_rope(const json& object, JsonFields& fields) {
  ModelConfig c;
  auto type = fields.text("rope_type");
  if (!type) type = fields.text("type");
  if (type) c.rope_scaling = read_scaling(object, fields, *type);
  c.rope_base = fields.real("rope_theta", 1, kMaxBase, /*open=*/true);
  c.rotary_fraction = fields.real("partial_rotary_factor", 0, 1, /*open=*/true);
  return c;
}

bool same(const RopeScaling& a, const RopeScaling& b) {
  return a.type == b.type && (a.type == "none" || a.factor == b.factor) && a.short_factor == b.short_factor;
}

/// One value that more than one place gives.
template <class T>
void join(std::optional<T>& to, const std::optional<T>& from, const JsonFields& fields, const char* key) {
  if (from && to && *from != *to)
    fields.fail(key, fmt::format("{} contradicts {} in another place of the file", *from, *to));
  if (from) to = from;
}

void join_rope(ModelConfig& c, const ModelConfig& rope, const JsonFields& fields) {
  join(c.rope_base, rope.rope_base, fields, "rope_theta");
  join(c.rotary_fraction, rope.rotary_fraction, fields, "partial_rotary_factor");
  if (rope.rope_scaling && c.rope_scaling && !same(*rope.rope_scaling, *c.rope_scaling))
    fields.fail("rope_type", "contradicts another place of the file");
  if (rope.rope_scaling) c.rope_scaling = rope.rope_scaling;
}

/// By layer type: {"full_attention": {...}, "sliding_attention": {...}}. Layers that differ are more than an
/// architecture can say.
void read_rope_by_layer_type(ModelConfig& c, const json& object, JsonFields& fields, const std::string& key) {
  std::optional<ModelConfig> first;
  std::string first_name;
  for (const auto& [name, content] : object.items()) {
    if (content.is_null()) continue;
    JsonFields inner = *fields.object(name);
    const ModelConfig one = read_rope(content, inner);
    if (!first) {
      first = one;
      first_name = name;
      join_rope(c, one, inner);
    } else if (one.rope_base != first->rope_base || one.rotary_fraction != first->rotary_fraction ||
               !same(one.rope_scaling.value_or(RopeScaling{}), first->rope_scaling.value_or(RopeScaling{}))) {
      c.unmet.push_back(
          fmt::format("{}: layers of type '{}' rotate otherwise than those of type '{}' "
                      "(rope_theta {} and {}); an architecture has one rotation for all",
                      key, printable(name), printable(first_name), one.rope_base.value_or(0),
                      first->rope_base.value_or(0)));
    }
  }
}

void read_positions(ModelConfig& c, const json& object, JsonFields& fields) {
  c.rope_base = real_under(fields, {"rope_theta", "rotary_emb_base"}, 1, kMaxBase);
  c.rotary_fraction = real_under(fields, {"rotary_pct", "partial_rotary_factor"}, 0, 1);
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    auto inner = fields.object(name);
    if (!inner) continue;
    const json& rope = object[name];
    const bool by_type = !rope.empty() && std::all_of(rope.begin(), rope.end(), [](const json& x) {
      return x.is_object() || x.is_null();
    }) && std::any_of(rope.begin(), rope.end(), [](const json& x) { return x.is_object(); });
    if (by_type)
      read_rope_by_layer_type(c, rope, *inner, name);
    else
      join_rope(c, read_rope(rope, *inner), *inner);
  }
  c.unrotated_every = fields.positive("no_rope_layer_interval");
  if (!fields.has("no_rope_layers")) return;
  if (!object["no_rope_layers"].is_array()) fields.fail("no_rope_layers", "an array of 0 and 1 is needed");
  for (const json& x : object["no_rope_layers"]) {
    if (x != 0 && x != 1 && !x.is_boolean()) fields.fail("no_rope_layers", "an array of 0 and 1 is needed");
    c.rotating.push_back(x == 1 || x == true);
  }
}

/// Layers of other kinds than attention, and windows too short for the heads that look back.
void read_layer_types(ModelConfig& c, const json& object, JsonFields& fields) {
  if (const auto types = fields.texts("layer_types"))
    for (const std::string& type : *types)
      if (type.find("attention") == std::string::npos || type.find("linear") != std::string::npos) {
        c.unmet.push_back(fmt::format("layer_types: '{}' is no attention that a head can be designed for",
                                      printable(type)));
        break;
      }
  const bool on = fields.boolean("use_sliding_window").value_or(true);
  for (const char* key : {"sliding_window", "window_size"})
    if (object.contains(key) && object[key].is_number_unsigned())
      if (const auto window = object[key].get<std::uint64_t>(); on && window > 0 && window <= kFarthest)
        c.unmet.push_back(
            fmt::format("{}: {} hides what heads look at, {} tokens back", key, window, kFarthest));
}

std::optional<double> inverse(std::optional<double> x) {
  return x ? std::optional<double>(1 / *x) : std::nullopt;
}

}  // namespace

ModelConfig read_config_fields(const json& object, JsonFields& fields) {
  ModelConfig c;
  c.layers = size_under(fields, {"num_hidden_layers", "n_layer", "num_layers", "n_layers"});
  c.heads = size_under(fields, {"num_attention_heads", "n_head", "num_heads", "n_heads"});
  c.kv_heads = size_under(fields, {"num_key_value_heads"});
  c.head_dim = size_under(fields, {"head_dim"});
  c.d_model = size_under(fields, {"hidden_size", "n_embd", "d_model"});
  c.mlp_width = size_under(fields, {"intermediate_size", "n_inner", "ffn_dim"});
  c.context = size_under(fields, {"max_position_embeddings", "n_positions", "max_seq_len"});
  c.vocab = size_under(fields, {"vocab_size"});
  read_positions(c, object, fields);
  read_layer_types(c, object, fields);
  c.init_std = fields.real("initializer_range", 0, 100, /*open=*/true);
  c.tied_head = fields.boolean("tie_word_embeddings");
  c.attention_bias = fields.boolean("attention_bias");
  c.score_scale = fields.real("attention_multiplier", 0, 1e6, /*open=*/true);
  c.embedding_multiplier = fields.real("embedding_multiplier", 0, 1e6, /*open=*/true);
  c.residual_multiplier = fields.real("residual_multiplier", 0, 1e6, /*open=*/true);
  c.logits_multiplier = inverse(fields.real("logits_scaling", 0, 1e6, /*open=*/true));
  if (const auto scale = fields.real("logit_scale", 0, 1e6, /*open=*/true)) c.logits_multiplier = scale;
  return c;
}

const std::vector<Peculiarity>& peculiarities() {
  static const std::vector<Peculiarity> all{
      {{"partial_rotary_factor", "rotary_pct"}, {1}},
      {{"rotary_dim"}, {}},
      {{"num_key_value_heads"}, {}},
      {{"head_dim"}, {}},
      {{"no_rope_layers", "no_rope_layer_interval"}, {json::array(), 0}},
      {{"attention_multiplier"}, {}},
      {{"embedding_multiplier"}, {1}},
      {{"residual_multiplier"}, {1}},
      {{"logits_scaling", "logit_scale"}, {1}},
      {{"qk_norm", "use_qk_norm", "qk_layernorm", "use_qk_layernorm", "qk_layer_norms"}, {false}},
      {{"attn_logit_softcapping", "attention_logit_cap"}, {0}},
      {{"final_logit_softcapping", "final_logit_cap"}, {0}},
      {{"clip_qkv"}, {}},
      {{"query_pre_attn_scalar"}, {}},
      {{"scale_emb", "scale_depth"}, {1}},
      {{"alibi", "use_alibi"}, {false}},
      {{"kv_lora_rank"}, {}},
      {{"is_encoder_decoder"}, {false}},
  };
  return all;
}

const char* found(const Peculiarity& p, const json& object) {
  for (const char* key : p.keys) {
    const auto value = object.find(key);
    if (value != object.end() && !value->is_null() &&
        std::find(p.usual.begin(), p.usual.end(), *value) == p.usual.end())
      return key;
  }
  return nullptr;
}

}  // namespace aloft
