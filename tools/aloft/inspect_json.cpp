#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "host/atomic_file.hpp"
#include "host/error.hpp"
#include "host/json_build.hpp"
#include "host/json_events.hpp"
#include "host/json_text.hpp"
#include "host/vocabulary.hpp"
#include "pipeline/model/architecture.hpp"
#include "pipeline/model/model_config.hpp"
#include "pipeline/model/model_types.hpp"
#include "tools/aloft/inspect.hpp"
#include "tools/aloft/options.hpp"

namespace aloft {
namespace {

using nlohmann::ordered_json;

constexpr std::uint64_t kLongestInspectedJson = std::uint64_t{1} << 30;  // a vocabulary's

/// The keys at the top of a JSON object, without a tree of what is below.
class TopKeys final : public JsonEvents {
 public:
  explicit TopKeys(const std::string& path) : path_(path) {}

  [[nodiscard]] bool has(const char* key) const { return keys_.contains(key); }
  [[nodiscard]] const std::string& tokenizer() const { return tokenizer_; }
  [[nodiscard]] std::uint64_t tokens() const { return tokens_; }  ///< items of the list "tokens"

 private:
  void scalar(const nlohmann::json&) override { value(); }
  void text(const std::string& text) override {
    if (depth() == 1 && key_ == "tokenizer") tokenizer_ = text.substr(0, 40);
    value();
  }
  void opened(bool is_object) override {
    if (depth() > 0 || !is_object) value();
  }
  void named(const std::string& key) override {
    if (depth() != 1) return;
    keys_.insert(key);
    key_ = key;
  }
  void failed(std::size_t position, const std::string&) override {
    throw InputError(fmt::format("{}: not valid JSON at byte {}", path_, position));
  }
  void value() {
    if (depth() == 0) throw InputError(path_ + ": is no JSON object");
    tokens_ += depth() == 2 && key_ == "tokens" ? 1 : 0;
  }

  const std::string& path_;
  std::set<std::string> keys_;
  std::string key_, tokenizer_;
  std::uint64_t tokens_ = 0;
};

ordered_json model_config_summary(const std::string& text, const std::string& path) {
  const std::vector<Architecture> built_in = parsed_built_ins();
  const ModelConfig c = parse_model_config(text, path, built_in);
  ordered_json out{{"kind", "Hugging Face config"}, {"model_type", c.model_type}};
  if (!c.architecture.empty()) out["architecture"] = c.architecture;
  const auto say = [&](const char* name, const auto& value) {
    if (value) out[name] = *value;
  };
  say("layers", c.layers);
  say("heads", c.heads);
  say("kv_heads", c.kv_heads);
  say("head_dim", c.head_dim);
  say("d_model", c.d_model);
  say("context", c.context);
  say("vocab", c.vocab);
  say("rope_base", c.rope_base);
  say("mlp_width", c.mlp_width);
  say("init_std", c.init_std);
  say("tied_head", c.tied_head);
  if (const std::string why = why_refused(c, built_in); !why.empty()) out["refused_by_init"] = why;
  return out;
}

}  // namespace

ordered_json json_summary_of(const std::string& text, const std::string& path) {
  TopKeys top(path);
  read_json_events(text, path, top, kLongestInspectedJson);
  if (top.has("tokenizer") && top.has("tokens")) {
    if (top.tokenizer() == "sentencepiece")
      return {{"kind", "vocabulary"}, {"tokenizer", "sentencepiece"}, {"size", top.tokens()}};
    const Vocabulary v(text, path);
    ordered_json out{{"kind", "vocabulary"}, {"size", v.size()}, {"tokens", v.tokens()}};
    for (TokenId id = 0; id < std::min<std::int64_t>(12, v.tokens()); ++id)
      array_in(out, "most_frequent").push_back(v.token(id));
    return out;
  }
  if (top.has("manifest")) {
    const auto json = parse_json<ordered_json>(text, path);
    ordered_json out{{"kind", "manifest of a run"}, {"settings", json}};
    out["settings"].erase("manifest");
    out["record"] = json["manifest"];
    return out;
  }
  if (top.has("coordinates") && top.has("recipe"))
    return {{"kind", "report of the offset recipe"}, {"content", parse_json<ordered_json>(text, path)}};
  if (top.has("layers") && top.has("lags"))
    return {{"kind", "spectra"}, {"content", parse_json<ordered_json>(text, path)}};
  if (top.has("model_type")) return model_config_summary(text, path);
  const Architecture a = parse_architecture(text, path);
  return {{"kind", "architecture"}, {"name", a.name}, {"description", a.description}};
}

ordered_json json_summary(const std::string& path) {
  return json_summary_of(read_file(path, kLongestInspectedJson), path);
}

}  // namespace aloft
