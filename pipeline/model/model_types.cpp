#include "pipeline/model/model_types.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "host/error.hpp"

// The types below are those whose models no built-in fits, by what their modelling code in Hugging Face's
// transformers does (5.24; src/transformers/models/TYPE/modeling_TYPE.py).

namespace aloft {
namespace {

using A = Architecture;

/// What decides whether a design fits: in words, and whether an architecture has it.
struct Trait {
  const char* what;
  bool (*had_by)(const A&);
};
bool never(const A&) { return false; }

constexpr Trait kQkNorm{"normalised queries and keys (QK-norm)", [](const A&a) { return a.qk_norm; }},
    kPostNorms{"norms after attention and MLP", never}, kNoPreNorms{"no norm before attention", never},
    kSoftCaps{"soft caps on scores and logits", never}, kLogitCap{"a soft cap on logits", never},
    kGainFromOne{"norm gains that count from 1 (1 + w)", never},
    kNormedEmbedding{"a norm on the embedding", never}, kInnerNorms{"norms inside attention and MLP", never},
    kClipped{"clipped queries, keys and values", never}, kLatent{"latent attention (MLA)", never},
    kSinks{"attention sinks", never}, kDifferential{"differential attention", never},
    kRecurrent{"layers that are no attention", never}, kEncoder{"an encoder", never},
    kTwoRotations{"rotations that differ from layer to layer", never},
    kUnrotated{"layers without positions",
               [](const A&a) { return a.unrotated_every > 0 || !a.rotating.empty(); }},
    kScaledEmbedding{"a multiplied embedding", [](const A&a) { return a.embedding_multiplier != 1; }},
    kScaledLogits{"scaled logits", [](const A&a) { return a.logits_multiplier != 1; }},
    kUnscaledScores{"scores of a scale of its own", [](const A&a) { return a.score_scale.has_value(); }},
    kLayerNorm{"LayerNorm", [](const A&a) { return a.norm == A::Norm::layernorm; }},
    kRmsNorm{"RMSNorm", [](const A&a) { return a.norm == A::Norm::rmsnorm; }},
    kInterleaved{
        "rotary pairs of neighbouring rows",
        [](const A&a) { return a.position == A::Position::rope && a.pairing == A::Pairing::interleaved; }},
    kHalfPairs{"rotary pairs half a head apart",
               [](const A&a) { return a.position == A::Position::rope && a.pairing == A::Pairing::half; }},
    kPartialRotary{"heads of which a part rotates",
                   [](const A&a) { return a.position == A::Position::rope && a.rotary_fraction < 1; }},
    kRope{"rotary positions", [](const A&a) { return a.position == A::Position::rope; }},
    kLearned{"learned positions", [](const A&a) { return a.position == A::Position::learned; }},
    kAlibi{"ALiBi", [](const A&a) { return a.position == A::Position::alibi; }};

struct Misfit {
  const char* type;
  std::vector<Trait> traits;
};

const std::vector<Misfit>& misfits() {
  static const std::vector<Trait> gemma{kScaledEmbedding, kGainFromOne},
      gemma2{kScaledEmbedding, kGainFromOne, kPostNorms, kSoftCaps},
      gemma3{kScaledEmbedding, kGainFromOne, kPostNorms, kQkNorm, kTwoRotations},
      olmo2{kQkNorm, kPostNorms, kNoPreNorms}, recurrent{kRecurrent}, qk{kQkNorm};
  static const std::vector<Misfit> all{
      {"gemma", gemma},
      {"gemma2", gemma2},
      {"gemma3", gemma3},
      {"gemma3_text", gemma3},
      {"gemma3n", gemma3},
      {"gemma3n_text", gemma3},
      {"olmo2", olmo2},
      {"olmo3", olmo2},
      {"olmoe", qk},
      {"olmo_hybrid", {kQkNorm, kRecurrent}},
      {"cohere", {kLayerNorm, kInterleaved, kScaledLogits}},
      {"cohere2", {kLayerNorm, kInterleaved, kScaledLogits, kUnrotated}},
      {"qwen3", qk},
      {"qwen3_moe", qk},
      {"qwen3_next", {kQkNorm, kRecurrent, kGainFromOne, kPartialRotary}},
      {"helium", {kInterleaved}},
      {"nanochat", {kQkNorm, kNormedEmbedding, kLogitCap}},
      {"stablelm", {kLayerNorm, kPartialRotary}},
      {"glm", {kInterleaved, kPartialRotary}},
      {"glm4", {kInterleaved, kPartialRotary, kPostNorms}},
      {"nemotron", {kLayerNorm, kGainFromOne, kPartialRotary}},
      {"persimmon", {kLayerNorm, kPartialRotary, kQkNorm}},
      {"phi", {kLayerNorm, kPartialRotary}},
      {"phimoe", {kLayerNorm}},
      {"exaone4", {kQkNorm, kPostNorms, kNoPreNorms}},
      {"apertus", qk},
      {"hunyuan_v1_dense", qk},
      {"hunyuan_v1_moe", qk},
      {"ernie4_5", {kInterleaved}},
      {"gpt_oss", {kSinks}},
      {"bitnet", {kInnerNorms}},
      {"diffllama", {kDifferential}},
      {"llama4", {kInterleaved, kUnrotated, kQkNorm}},
      {"llama4_text", {kInterleaved, kUnrotated, kQkNorm}},
      {"lfm2", {kQkNorm, kRecurrent}},
      {"jamba", recurrent},
      {"bamba", recurrent},
      {"falcon_h1", recurrent},
      {"zamba", recurrent},
      {"zamba2", recurrent},
      {"mamba", recurrent},
      {"mamba2", recurrent},
      {"minimax", recurrent},
      {"rwkv", recurrent},
      {"recurrent_gemma", {kRecurrent, kGainFromOne}},
      {"falcon", {kLayerNorm}},
      {"bloom", {kAlibi, kLayerNorm, kNormedEmbedding}},
      {"mpt", {kAlibi, kLayerNorm}},
      {"opt", {kLearned, kLayerNorm}},
      {"gpt_neo", {kLearned, kLayerNorm, kUnscaledScores}},
      {"gpt_bigcode", {kLearned, kLayerNorm}},
      {"gptj", {kLayerNorm, kInterleaved, kPartialRotary}},
      {"codegen", {kLayerNorm, kInterleaved, kPartialRotary}},
      {"deepseek_v2", {kLatent}},
      {"deepseek_v3", {kLatent}},
      {"dbrx", {kLayerNorm, kClipped}},
  };
  return all;
}

const Misfit* misfit_of(const std::string& type) {
  const auto found =
      std::find_if(misfits().begin(), misfits().end(), [&](const Misfit& m) { return m.type == type; });
  return found == misfits().end() ? nullptr : &*found;
}

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
    for (const Trait& t : known->traits) what.emplace_back(t.what);
    throw UsageError(fmt::format(
        "{}: {} has {}, and no built-in architecture is such a model; one of your own (--arch FILE.json) can "
        "be, if tools/architectures/README.md has fields for that",
        config.origin, config.shown_type, list(what)));
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

}  // namespace aloft
