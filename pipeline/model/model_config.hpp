#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pipeline/model/architecture.hpp"

// Where the sizes of a model come from: flags over Hugging Face's config.json over defaults. Whether the
// model that a config.json describes is one that an architecture fits: model_types.hpp.

namespace aloft {

/// What a Hugging Face config.json says; what neither it nor its model_type's defaults say stays empty.
struct ModelConfig {
  std::string origin;        ///< what errors call it; empty where there is no config
  std::string model_type;    ///< empty where the file names none
  std::string shown_type;    ///< for people: "model_type 'X'", with the type of what it is nested in
  std::string architecture;  ///< the built-in of this model_type; empty if there is none
  std::optional<std::int64_t> layers, heads, kv_heads, head_dim, d_model, context, vocab, mlp_width;
  std::optional<double> rope_base, rotary_fraction, init_std, score_scale;
  std::optional<double> embedding_multiplier, residual_multiplier, logits_multiplier;
  std::optional<RopeScaling> rope_scaling;
  std::optional<bool> tied_head, attention_bias;
  std::optional<std::int64_t> unrotated_every;
  std::vector<bool> rotating;      ///< [layers], where the file lists them
  std::set<std::string> peculiar;  ///< switches that are on and that change what is computed: their keys
  std::vector<std::string> unmet;  ///< "KEY: why": what no architecture allows
  std::vector<std::string> notes;  ///< for people: what was read in another way than one might expect
};

/// The file's fields, over the defaults of its model_type where one of `built_in` has that. A field that such
/// a type does not read is ignored, with a note. Nested language models (text_config) are read in place of
/// the whole. Throws InputError naming the field for values that cannot be.
[[nodiscard]] ModelConfig parse_model_config(const std::string& json_text, const std::string& origin,
                                             const std::vector<Architecture>& built_in);

/// Sizes as the user gave them; what is absent comes from the model config, then from a default where one is
/// sensible.
struct ModelFlags {
  std::optional<std::int64_t> layers, heads, kv_heads, head_dim, d_model, context, vocab, mlp_width;
  std::optional<double> rope_base, init_std;
};

/// Sizes from flags over `config` over defaults (heads: d_model/64 at least 1; kv_heads = heads; head_dim =
/// d_model/heads; context 1024). Throws UsageError naming the flag that is missing or does not fit, and for a
/// rope_base where nothing rotates.
[[nodiscard]] ModelShape resolve_shape(const ModelFlags& flags, const ModelConfig& config,
                                       const Architecture& arch, std::int64_t corpus_vocab);

/// The architecture with what a model config says of it (RoPE base, rotary share, tied head, multipliers,
/// ...).
[[nodiscard]] Architecture specialize(Architecture arch, const ModelConfig& config);

}  // namespace aloft
