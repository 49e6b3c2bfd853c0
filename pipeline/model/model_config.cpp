#include "pipeline/model/model_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "host/error.hpp"
#include "host/json_text.hpp"
#include "host/plural.hpp"
#include "pipeline/model/config_fields.hpp"
#include "pipeline/model/misfits.hpp"

namespace aloft {
namespace {

using nlohmann::json;

/// The part of a multi-modal model's file that describes its language model; "" for the file itself.
std::string nested_part(const json& file) {
  for (const char* name : {"text_config", "llm_config", "language_config"})
    if (file.contains(name) && file[name].is_object() && !file[name].empty()) return name;
  return "";
}

const ModelType* find_type(const std::vector<Architecture>& built_in, const std::string& name,
                           std::string& architecture) {
  for (const Architecture& a : built_in)
    for (const ModelType& t : a.model_types)
      if (t.name == name) {
        architecture = a.name;
        return &t;
      }
  return nullptr;
}

template <class T>
void fill_in(std::optional<T>& field, const std::optional<T>& otherwise) {
  if (!field) field = otherwise;
}

/// What the file does not say, as the type has it.
void fill_in_defaults(ModelConfig& c, const ModelConfig& d) {
  for (auto size : {&ModelConfig::layers, &ModelConfig::heads, &ModelConfig::kv_heads, &ModelConfig::head_dim,
                    &ModelConfig::d_model, &ModelConfig::context, &ModelConfig::vocab,
                    &ModelConfig::mlp_width, &ModelConfig::unrotated_every})
    fill_in(c.*size, d.*size);
  for (auto number : {&ModelConfig::rope_base, &ModelConfig::rotary_fraction, &ModelConfig::init_std,
                      &ModelConfig::score_scale, &ModelConfig::embedding_multiplier,
                      &ModelConfig::residual_multiplier, &ModelConfig::logits_multiplier})
    fill_in(c.*number, d.*number);
  fill_in(c.tied_head, d.tied_head);
  fill_in(c.attention_bias, d.attention_bias);
}

/// Keys that say what is computed, which models of this type do not read: taken out, with a note.
void drop_unread(json& object, const json& read, const ModelConfig& c, std::vector<std::string>& notes) {
  const auto drop = [&](json& from, const Peculiarity& p) {
    if (std::any_of(p.keys.begin(), p.keys.end(), [&](const char* key) { return read.contains(key); }))
      return;
    if (const char* key = found(p, from))
      notes.push_back(fmt::format("note: {}: models of type '{}' do not read {}, so it is ignored", c.origin,
                                  c.model_type, key));
    for (const char* key : p.keys) from.erase(key);
  };
  for (const Peculiarity& p : peculiarities()) {
    drop(object, p);
    for (const char* rope : {"rope_scaling", "rope_parameters"})
      if (object.contains(rope) && object[rope].is_object()) drop(object[rope], p);
  }
}

/// Fields that must have one value for the type to be this architecture.
void check_only(ModelConfig& c, const json& object, const json& only) {
  for (const auto& [key, value] : only.items())
    if (object.contains(key) && object[key] != value)
      c.unmet.push_back(fmt::format("{}: models of type '{}' fit where this is {}, not {}", key, c.model_type,
                                    value.dump(), object[key].dump().substr(0, 80)));
}

void derive_sizes(ModelConfig& c, JsonFields& fields) {
  if (c.heads && c.kv_heads && *c.heads % *c.kv_heads != 0)
    fields.fail("num_key_value_heads",
                fmt::format("{} does not divide the {}", *c.kv_heads, counted(*c.heads, "head")));
  if (c.heads && c.d_model && !c.head_dim) {
    if (*c.d_model % *c.heads != 0)
      fields.fail(fields.has("n_embd") ? "n_embd" : "hidden_size",
                  fmt::format("{} is not a multiple of the {} heads, and head_dim is not given", *c.d_model,
                              *c.heads));
    c.head_dim = *c.d_model / *c.heads;
  }
  if (const auto rotating = fields.positive("rotary_dim"); rotating && c.head_dim && !c.rotary_fraction) {
    const auto width = static_cast<double>(*c.head_dim), wanted = static_cast<double>(*rotating);
    if (wanted > width)
      fields.fail("rotary_dim", fmt::format("{} is more than the head dimension {}", wanted, width));
    double share = wanted / width;
    if (std::floor(share * width) < wanted) share = std::nextafter(share, 2.0);  // rotary_dim() truncates
    c.rotary_fraction = share;
  }
}

/// The original context where the file leaves it out, and the factor that follows from the two.
void derive_scaling(ModelConfig& c, JsonFields& fields) {
  if (!c.rope_scaling) return;
  RopeScaling& s = *c.rope_scaling;
  if (s.original_context == 0)
    s.original_context = fields.positive("original_max_position_embeddings").value_or(c.context.value_or(0));
  if (s.factor == 0)
    s.factor = c.context && s.original_context > 0
                   ? static_cast<double>(*c.context) / static_cast<double>(s.original_context)
                   : 1;
}

/// Of a type that fits no built-in. That is the reason to hear first: a field that cannot be read waits among
/// what is unmet.
ModelConfig config_of_misfit(const json& object, JsonFields& fields, const std::string& origin) {
  try {
    ModelConfig c = read_config_fields(object, fields);
    derive_sizes(c, fields);
    derive_scaling(c, fields);
    return c;
  } catch (const InputError& e) {
    ModelConfig c;
    c.unmet.push_back(std::string(e.what()).substr(origin.size() + 2));
    return c;
  }
}

}  // namespace

ModelConfig parse_model_config(const std::string& json_text, const std::string& origin,
                               const std::vector<Architecture>& built_in) {
  json file = parse_json_object(json_text, origin);
  JsonFields whole(file, origin);
  const std::string outer_type = whole.text("model_type").value_or(""), part = nested_part(file);
  json& object = part.empty() ? file : file[part];
  JsonFields fields(object, origin, part);
  const std::string type = fields.text("model_type").value_or(outer_type);
  std::string architecture;
  const ModelType* known = find_type(built_in, type, architecture);

  ModelConfig head;  // who speaks
  head.origin = origin;
  head.model_type = type;
  std::vector<std::string> notes;
  if (!part.empty())
    notes.push_back(
        fmt::format("note: {}: its {} is read; the file that is written names the tensors of that "
                    "language model by itself",
                    origin, part));
  const json defaults = known != nullptr ? parse_json(known->defaults, "known defaults") : json::object();
  if (known != nullptr) {
    json read = defaults;
    read.update(parse_json(known->only, "known fields"));
    drop_unread(object, read, head, notes);
  }
  const bool fits_none = misfit_of(type) != nullptr;
  ModelConfig c = fits_none ? config_of_misfit(object, fields, origin) : read_config_fields(object, fields);
  c.origin = origin;
  c.model_type = type;
  c.shown_type =
      type == outer_type || outer_type.empty()
          ? fmt::format("model_type '{}'", printable(type))
          : fmt::format("model_type '{}' of {} in '{}'", printable(type), part, printable(outer_type));
  c.architecture = architecture;
  c.notes = notes;
  if (!part.empty() && !c.tied_head) c.tied_head = whole.boolean("tie_word_embeddings");
  if (known != nullptr) {
    json missing = defaults;
    for (const auto& [key, value] : object.items())  // an explicit null is no request for the default
      if (value.is_null()) missing.erase(key);
    JsonFields of_type(missing, "the defaults of " + type);
    fill_in_defaults(c, read_config_fields(missing, of_type));
    check_only(c, object, parse_json(known->only, "known fields"));
  } else {
    for (const Peculiarity& p : peculiarities())
      if (const char* key = found(p, object)) c.peculiar.insert(key);
  }
  if (!fits_none) {
    derive_sizes(c, fields);
    derive_scaling(c, fields);
  }
  return c;
}

}  // namespace aloft
