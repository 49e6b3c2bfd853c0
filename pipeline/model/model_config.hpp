#pragma once
#include <optional>
#include <string>

#include "pipeline/model/architecture.hpp"

// Where the sizes of a model come from: flags over Hugging Face's config.json over defaults.

namespace aloft {

/// Sizes read from a Hugging Face config.json; what it does not say stays empty.
struct ModelConfig {
  std::string architecture;  ///< one of ours, from model_type; empty if unknown
  std::optional<std::int64_t> layers, heads, kv_heads, head_dim, d_model, context, vocab, mlp_width;
  std::optional<double> rope_base, rotary_fraction, init_std, rope_scaling_factor;
  std::optional<std::string> rope_scaling;
  std::optional<bool> tied_head, attention_bias;
};
[[nodiscard]] ModelConfig parse_model_config(const std::string& json_text, const std::string& origin);

/// Sizes as the user gave them; what is absent comes from the model config, then from a default where one is
/// sensible.
struct ModelFlags {
  std::optional<std::int64_t> layers, heads, kv_heads, head_dim, d_model, context, vocab, mlp_width;
  std::optional<double> rope_base, init_std;
};

/// Sizes from flags over `config` over defaults (heads: d_model/64 at least 1; kv_heads = heads; head_dim =
/// d_model/heads; context 1024). Throws UsageError naming the flag that is missing or does not fit.
[[nodiscard]] ModelShape resolve_shape(const ModelFlags& flags, const ModelConfig& config,
                                       const Architecture& arch, std::int64_t corpus_vocab);

/// The architecture with what a model config says of it (RoPE base, rotary share, tied head, ...).
[[nodiscard]] Architecture specialize(Architecture arch, const ModelConfig& config);

}  // namespace aloft
