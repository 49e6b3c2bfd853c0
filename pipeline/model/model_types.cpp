#include "pipeline/model/model_types.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "host/error.hpp"
#include "pipeline/model/misfits.hpp"

namespace aloft {
namespace {

using namespace trait;

/// What switches of a file of unknown type mean. The others are taken into account.
const std::vector<std::pair<const char*, Trait>>& switches() {
  static const std::vector<std::pair<const char*, Trait>> all{
      {"qk_norm", kQkNorm},
      {"use_qk_norm", kQkNorm},
      {"qk_layernorm", kQkNorm},
      {"use_qk_layernorm", kQkNorm},
      {"qk_layer_norms", kQkNorm},
      {"attn_logit_softcapping", kSoftCaps},
      {"attention_logit_cap", kSoftCaps},
      {"final_logit_softcapping", kLogitCap},
      {"final_logit_cap", kLogitCap},
      {"clip_qkv", kClipped},
      {"query_pre_attn_scalar", kUnscaledScores},
      {"scale_emb", kScaledEmbedding},
      {"alibi", kAlibi},
      {"use_alibi", kAlibi},
      {"kv_lora_rank", kLatent},
      {"is_encoder_decoder", kEncoder},
  };
  return all;
}

std::string list(const std::vector<std::string>& words) {
  std::string out;
  for (std::size_t i = 0; i < words.size(); ++i)
    out += (i == 0 ? "" : i + 1 == words.size() ? " and " : ", ") + words[i];
  return out;
}

/// Those that the architecture lacks.
std::vector<std::string> lacking(const std::vector<Trait>& traits, const A& arch) {
  std::vector<std::string> out;
  for (const Trait& t : traits)
    if (!t.had_by(arch)) out.emplace_back(t.what);
  return out;
}

/// Of a model that a built-in fits: what an architecture must share with that built-in.
std::vector<std::string> lacking(const A& fitting, const A& arch) {
  std::vector<Trait> traits;
  for (const Trait& t : {kLayerNorm, kRmsNorm, kRope, kLearned, kInterleaved, kHalfPairs, kQkNorm})
    if (t.had_by(fitting)) traits.push_back(t);
  std::vector<std::string> out = lacking(traits, arch);
  if (arch.qk_norm && !fitting.qk_norm) out.emplace_back("queries and keys as they are projected");
  return out;
}

std::vector<std::string> lacking(const ModelConfig& config, const ChosenArchitecture& chosen,
                                 const std::vector<A>& built_in) {
  const A arch = specialize(chosen.architecture, config);
  const bool of_a_class = chosen.built_in && !arch.model_types.empty();  // Hugging Face's names and layouts
  if (!config.architecture.empty()) {
    if (chosen.built_in && chosen.name == config.architecture) return {};
    const auto fitting = std::find_if(built_in.begin(), built_in.end(),
                                      [&](const A& a) { return a.name == config.architecture; });
    if (of_a_class || fitting == built_in.end()) return {"the tensors of --arch " + config.architecture};
    return lacking(*fitting, arch);
  }
  if (const Misfit* known = misfit_of(config.model_type)) {
    std::vector<std::string> out = lacking(known->traits, arch);
    if (out.empty() && of_a_class) out.emplace_back("tensors of other names or layouts");
    return out;
  }
  std::vector<std::string> out;
  for (const auto& [key, trait] : switches())
    if (config.peculiar.contains(key) && !trait.had_by(arch))
      out.push_back(fmt::format("{} ({})", trait.what, key));
  return out;
}

}  // namespace

std::string architecture_of(const ModelConfig& config, const std::vector<A>& built_in) {
  if (!config.architecture.empty()) return config.architecture;
  if (const Misfit* known = misfit_of(config.model_type)) {
    std::vector<std::string> what;
    bool describable = true;  // in a file of one's own
    for (const Trait& t : known->traits) {
      what.emplace_back(t.what);
      describable = describable && t.had_by != never;
    }
    throw UsageError(fmt::format(
        "{}: {} has {}, and {}", config.origin, config.shown_type, list(what),
        describable ? "no built-in architecture is such a model; one of your own (--arch FILE.json) can be: "
                      "tools/architectures/README.md"
                    : "no architecture can say that: aloft designs nothing for such a model"));
  }
  std::vector<std::string> types;
  for (const A& a : built_in)
    for (const ModelType& t : a.model_types) types.push_back(t.name);
  std::sort(types.begin(), types.end());
  if (config.model_type.empty()) throw UsageError(config.origin + ": it names no model_type: give --arch");
  throw UsageError(fmt::format("{}: {} is not one that aloft knows ({}): give --arch, if one describes it",
                               config.origin, config.shown_type, fmt::join(types, ", ")));
}

std::vector<std::string> check_model_type(const ModelConfig& config, const ChosenArchitecture& chosen,
                                          const std::vector<A>& built_in) {
  if (config.origin.empty()) return {};
  if (const auto what = lacking(config, chosen, built_in); !what.empty())
    throw UsageError(
        fmt::format("{}: {} has {}, which --arch {} has not: its design would not fit that model",
                    config.origin, config.shown_type, list(what), chosen.name));
  if (!config.unmet.empty()) throw InputError(config.origin + ": " + config.unmet.front());
  std::vector<std::string> notes = config.notes;
  if (config.architecture.empty() && misfit_of(config.model_type) == nullptr)
    notes.push_back(
        config.model_type.empty()
            ? fmt::format("note: {}: it names no model_type: taken as {}, as --arch says", config.origin,
                          chosen.name)
            : fmt::format(
                  "note: {}: {} is not one that aloft knows: taken as {}, as --arch says; whether norms "
                  "and attention of such a model are those was not checked",
                  config.origin, config.shown_type, chosen.name));
  return notes;
}

std::string why_refused(const ModelConfig& config, const std::vector<A>& built_in) {
  try {
    const std::string name = architecture_of(config, built_in);
    const auto fitting =
        std::find_if(built_in.begin(), built_in.end(), [&](const A& a) { return a.name == name; });
    (void)check_model_type(config, {*fitting, name, true}, built_in);
    return "";
  } catch (const Error& e) {
    return e.what();
  }
}

}  // namespace aloft
