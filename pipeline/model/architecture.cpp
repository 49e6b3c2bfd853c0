#include "pipeline/model/architecture.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "host/error.hpp"
#include "host/plural.hpp"
#include "pipeline/base/json_fields.hpp"

namespace aloft {
namespace {

using A = Architecture;

/// A tensor name: "{layer}" exactly once where there is one tensor a layer, and no other brace.
std::string tensor_name(JsonFields& fields, const std::string& field, bool per_layer) {
  static const std::string kLayer = "{layer}";
  std::string name = fields.required(field, fields.text(field));
  std::string rest = name;
  int count = 0;
  for (auto at = rest.find(kLayer); at != std::string::npos; at = rest.find(kLayer)) {
    rest.replace(at, kLayer.size(), "");
    ++count;
  }
  if (rest.find_first_of("{}") != std::string::npos) fields.fail(field, "only {layer} may be in braces");
  if (per_layer && count != 1) fields.fail(field, "the name must contain {layer} exactly once");
  if (!per_layer && count != 0)
    fields.fail(field, "the name must not contain {layer}: there is one for all layers");
  return name;
}

void read_tensors(A& a, JsonFields fields) {
  a.fusion = fields.required(
      "fusion",
      fields.choice<A::Fusion>("fusion", {{"separate", A::Fusion::separate},
                                          {"concatenated", A::Fusion::concatenated},
                                          {"interleaved_by_head", A::Fusion::interleaved_by_head}}));
  a.orientation = fields.required(
      "orientation", fields.choice<A::Orientation>("orientation", {{"out_in", A::Orientation::out_in},
                                                                   {"in_out", A::Orientation::in_out}}));
  std::vector<std::string> used;
  const auto name = [&](const std::string& field, bool per_layer) {
    std::string text = tensor_name(fields, field, per_layer);
    if (std::find(used.begin(), used.end(), text) != used.end()) fields.fail(field, "the name is used twice");
    used.push_back(text);
    return text;
  };
  if (a.fusion == A::Fusion::separate) {
    a.query = name("query", true);
    a.key = name("key", true);
    a.value = name("value", true);
  } else {
    a.qkv = name("qkv", true);
  }
  a.output = name("output", true);
  a.embedding = name("embedding", false);
  if (fields.has("head")) a.head = name("head", false);
  if (fields.has("final_norm")) a.final_norm = name("final_norm", false);
  if (fields.has("final_norm_bias")) {
    a.final_norm_bias = name("final_norm_bias", false);
    if (a.final_norm.empty()) fields.fail("final_norm_bias", "needs final_norm beside it");
  }
  if (fields.has("attention_norm")) a.attention_norm = name("attention_norm", true);
  if (fields.has("attention_norm_bias")) {
    a.attention_norm_bias = name("attention_norm_bias", true);
    if (a.attention_norm.empty()) fields.fail("attention_norm_bias", "needs attention_norm beside it");
  }
  if (fields.has("mlp_output")) a.mlp_output = name("mlp_output", true);
  a.mlp_ratio = fields.real("mlp_ratio", 0, 1000, /*open=*/true).value_or(0);
  a.mlp_gated = fields.boolean("mlp_gated").value_or(false);
  a.mlp_relu2 = fields.boolean("mlp_relu2").value_or(false);
  if (a.mlp_gated && a.mlp_relu2) fields.fail("mlp_relu2", "must be false where mlp_gated is true");
  a.optional_prefixes = fields.texts("optional_prefixes").value_or(std::vector<std::string>{});
  fields.refuse_unknown();
}

void read_attention(A& a, JsonFields fields) {
  a.grouped_query = fields.required("grouped_query", fields.boolean("grouped_query"));
  a.free_head_dim = fields.required("free_head_dim", fields.boolean("free_head_dim"));
  a.attention_bias = fields.required("bias", fields.boolean("bias"));
  a.qk_norm = fields.required("qk_norm", fields.boolean("qk_norm"));
  a.score_scale = fields.real("score_scale", 0, 1e6, /*open=*/true);
  if (a.grouped_query && a.fusion == A::Fusion::interleaved_by_head)
    fields.fail("grouped_query", "must be false where tensors.fusion is interleaved_by_head");
  fields.refuse_unknown();
}

void read_position(A& a, JsonFields fields) {
  a.position = fields.required("kind", fields.choice<A::Position>("kind", {{"rope", A::Position::rope},
                                                                           {"learned", A::Position::learned},
                                                                           {"alibi", A::Position::alibi},
                                                                           {"none", A::Position::none}}));
  if (a.position == A::Position::learned) a.position_embedding = tensor_name(fields, "embedding", false);
  if (a.position == A::Position::rope) {
    a.pairing = fields.required(
        "pairing", fields.choice<A::Pairing>(
                       "pairing", {{"half", A::Pairing::half}, {"interleaved", A::Pairing::interleaved}}));
    const double sign = fields.real("sign", -1, 1).value_or(1);
    if (sign != 1 && sign != -1) fields.fail("sign", "1 or -1 is needed");
    a.rope_sign = static_cast<int>(sign);
    a.rope_base = fields.required("base", fields.real("base", 1, 1e12, /*open=*/true));
    a.rotary_fraction = fields.real("fraction", 0, 1, /*open=*/true).value_or(1);
    a.rope_scaling.type =
        fields.choice<std::string>("scaling", {{"none", "none"}, {"linear", "linear"}}).value_or("none");
    const auto factor = fields.real("scaling_factor", 0, 1e6, /*open=*/true);
    if (factor.has_value() != (a.rope_scaling.type == "linear"))
      fields.fail("scaling_factor", factor ? "is only for linear scaling" : "is missing (scaling is linear)");
    a.rope_scaling.factor = factor.value_or(1);
    a.unrotated_every = fields.positive("unrotated_every").value_or(0);
  }
  fields.refuse_unknown();
}

void read_multipliers(A& a, JsonFields fields) {
  const auto read = [&](const char* name) { return fields.real(name, 0, 1e6, /*open=*/true).value_or(1); };
  a.embedding_multiplier = read("embedding");
  a.residual_multiplier = read("residual");
  a.logits_multiplier = read("logits");
  fields.refuse_unknown();
}

void read_model_types(A& a, const nlohmann::json& types, JsonFields fields) {
  for (const auto& [name, content] : types.items()) {
    JsonFields type = *fields.object(name);
    (void)type.required("defaults", type.object("defaults"));
    (void)type.object("only");
    type.refuse_unknown();
    a.model_types.push_back(
        {name, content["defaults"].dump(), content.value("only", nlohmann::json::object()).dump()});
  }
}

}  // namespace

Architecture parse_architecture(const std::string& json_text, const std::string& origin) {
  const nlohmann::json json = parse_json_object(json_text, origin);
  JsonFields top(json, origin);
  A a;
  a.name = top.required("name", top.text("name"));
  if (a.name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") !=
      std::string::npos)
    top.fail("name", "only letters, digits, '-', '_' and '.' may be used");
  a.description = top.text("description").value_or("");
  read_tensors(a, top.required("tensors", top.object("tensors")));
  a.tied_head = top.required("tied_head", top.boolean("tied_head"));
  if (!a.tied_head && a.head.empty()) top.fail("tensors.head", "is missing (tied_head is false)");
  a.norm = top.required("norm", top.choice<A::Norm>("norm", {{"layernorm", A::Norm::layernorm},
                                                             {"rmsnorm", A::Norm::rmsnorm}}));
  read_attention(a, top.required("attention", top.object("attention")));
  read_position(a, top.required("position", top.object("position")));
  JsonFields init = top.required("init", top.object("init"));
  a.init_std = init.required("std", init.real("std", 0, 100, /*open=*/true));
  a.init_residual_scaled = init.required("residual_scaled", init.boolean("residual_scaled"));
  init.refuse_unknown();
  if (auto multipliers = top.object("multipliers")) read_multipliers(a, *multipliers);
  if (auto types = top.object("model_types")) read_model_types(a, json["model_types"], *types);
  top.refuse_unknown();
  return a;
}

std::int64_t rotary_dim(const Architecture& arch, const ModelShape& shape) {
  if (arch.position != A::Position::rope) return 0;
  // the product truncated, as model code does (int(head_size * rotary_pct))
  return static_cast<std::int64_t>(std::floor(static_cast<double>(shape.head_dim) * arch.rotary_fraction));
}

bool rotates(const Architecture& arch, std::int64_t layer) {
  if (!arch.rotating.empty()) return arch.rotating[static_cast<std::size_t>(layer)];
  return arch.unrotated_every == 0 || (layer + 1) % arch.unrotated_every != 0;
}

namespace {

// Far above any model that there is, and low enough for every product of sizes, and sums of a hundred of
// them, to stay below 2^63 bytes: layers · heads · head_dim · d · 8 bytes is at most 2^56.
constexpr std::int64_t kMostLayers = std::int64_t{1} << 13, kMostHeads = std::int64_t{1} << 14,
                       kMostWidth = std::int64_t{1} << 20, kMostEntries = std::int64_t{1} << 31;

void check_sizes(const ModelShape& shape) {
  const auto within = [](const char* what, std::int64_t value, std::int64_t most) {
    if (value <= 0)
      throw UsageError(fmt::format("the model needs a positive number of {}, not {}", what, value));
    if (value > most) throw UsageError(fmt::format("{} {} are too many: at most {}", value, what, most));
  };
  within("layers", shape.layers, kMostLayers);
  within("heads", shape.heads, kMostHeads);
  within("key-value heads", shape.kv_heads, kMostHeads);
  within("head dimensions", shape.head_dim, kMostWidth);
  within("dimensions of all heads together", shape.heads * shape.head_dim, kMostWidth);
  within("model dimensions", shape.d_model, kMostWidth);
  within("context positions", shape.context, kMostEntries);
  within("vocabulary entries", shape.vocab, kMostEntries);
  if (shape.mlp_width != 0) within("MLP dimensions", shape.mlp_width, kMostWidth);
}

}  // namespace

void check_shape(const Architecture& arch, const ModelShape& shape) {
  check_sizes(shape);
  if (shape.heads % shape.kv_heads != 0)
    throw UsageError(
        fmt::format("{} heads cannot share {} key-value heads evenly", shape.heads, shape.kv_heads));
  if (shape.kv_heads != shape.heads && !arch.grouped_query)
    throw UsageError(fmt::format("architecture {} has as many key-value heads as heads ({}), not {}",
                                 arch.name, shape.heads, shape.kv_heads));
  if (shape.heads * shape.head_dim != shape.d_model && !arch.free_head_dim)
    throw UsageError(
        fmt::format("architecture {} needs heads x head dimension = model width: {} x {} is not {}",
                    arch.name, shape.heads, shape.head_dim, shape.d_model));
  if (!arch.rotating.empty() && arch.rotating.size() < static_cast<std::size_t>(shape.layers))
    throw UsageError(fmt::format("no_rope_layers lists {}, the model has {}",
                                 counted(arch.rotating.size(), "layer"), shape.layers));
  if (arch.position != A::Position::rope) return;
  const std::int64_t rotary = rotary_dim(arch, shape);
  if (rotary == 0 || rotary % 2 != 0)
    throw UsageError(
        fmt::format("architecture {}: {} of the {} head dimensions would rotate; an even number above 0 is "
                    "needed",
                    arch.name, rotary, shape.head_dim));
  if (!(shape.rope_base > 1))
    throw UsageError(fmt::format("a rotary base above 1 is needed, not {}", shape.rope_base));
}

}  // namespace aloft
