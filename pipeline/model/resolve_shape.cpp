#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "host/error.hpp"
#include "pipeline/model/model_config.hpp"

namespace aloft {
namespace {

std::int64_t need(std::optional<std::int64_t> flag, std::optional<std::int64_t> given,
                  const ModelConfig& config, const char* name, const char* keys) {
  if (flag) return *flag;
  if (given) return *given;
  if (!config.origin.empty())
    throw UsageError(fmt::format("{} is needed: {} has none of {}", name, config.origin, keys));
  throw UsageError(fmt::format("{} is needed (or --model-config with a Hugging Face config.json)", name));
}

std::int64_t prefer(std::optional<std::int64_t> flag, std::optional<std::int64_t> config,
                    std::int64_t otherwise) {
  return flag ? *flag : config.value_or(otherwise);
}

}  // namespace

ModelShape resolve_shape(const ModelFlags& flags, const ModelConfig& config, const Architecture& arch,
                         std::int64_t corpus_vocab) {
  ModelShape shape;
  shape.layers = need(flags.layers, config.layers, config, "--layers",
                      "num_hidden_layers, n_layer, num_layers, n_layers");
  shape.d_model = need(flags.d_model, config.d_model, config, "--d-model", "hidden_size, n_embd, d_model");
  shape.heads = prefer(flags.heads, config.heads, std::max<std::int64_t>(1, shape.d_model / 64));
  // A user who changes the heads of a config does not mean its grouping or head size.
  const bool own_heads = flags.heads && flags.heads != config.heads;
  shape.kv_heads = prefer(flags.kv_heads, own_heads ? std::nullopt : config.kv_heads, shape.heads);
  const bool own_width = own_heads || (flags.d_model && flags.d_model != config.d_model);
  const std::optional<std::int64_t> config_head_dim = own_width ? std::nullopt : config.head_dim;
  if (!flags.head_dim && !config_head_dim && shape.heads > 0 && shape.d_model % shape.heads != 0)
    throw UsageError(fmt::format("--d-model {} is no multiple of --heads {}: give --head-dim", shape.d_model,
                                 shape.heads));
  shape.head_dim = prefer(flags.head_dim, config_head_dim,
                          shape.heads > 0 ? shape.d_model / shape.heads : std::int64_t{0});
  shape.context = prefer(flags.context, config.context, 1024);
  shape.vocab = prefer(flags.vocab, config.vocab, corpus_vocab);
  if (flags.rope_base && arch.position != Architecture::Position::rope)
    throw UsageError(fmt::format("--rope-base: architecture {} has no rotary positions", arch.name));
  shape.rope_base = flags.rope_base ? *flags.rope_base : config.rope_base.value_or(arch.rope_base);
  const bool own_mlp =
      flags.d_model && flags.d_model != config.d_model;  // a config's MLP belongs to its width
  shape.mlp_width =
      prefer(flags.mlp_width, own_mlp ? std::nullopt : config.mlp_width,
             static_cast<std::int64_t>(std::llround(arch.mlp_ratio * static_cast<double>(shape.d_model))));
  check_shape(arch, shape);
  if (shape.vocab < corpus_vocab)
    throw UsageError(
        fmt::format("the model's vocabulary of {} ({}) is below the corpus vocabulary of {}", shape.vocab,
                    flags.vocab ? "--model-vocab-size" : "vocab_size of --model-config", corpus_vocab));
  shape.rotary_dim = rotary_dim(arch, shape);
  return shape;
}

Architecture specialize(Architecture arch, const ModelConfig& config) {
  if (config.rope_base) arch.rope_base = *config.rope_base;
  if (config.rotary_fraction) arch.rotary_fraction = *config.rotary_fraction;
  if (config.rope_scaling) arch.rope_scaling = *config.rope_scaling;
  if (config.unrotated_every) arch.unrotated_every = *config.unrotated_every;
  if (!config.rotating.empty()) arch.rotating = config.rotating;
  if (config.score_scale) arch.score_scale = config.score_scale;
  if (config.embedding_multiplier) arch.embedding_multiplier = *config.embedding_multiplier;
  if (config.residual_multiplier) arch.residual_multiplier = *config.residual_multiplier;
  if (config.logits_multiplier) arch.logits_multiplier = *config.logits_multiplier;
  if (config.tied_head) arch.tied_head = *config.tied_head;
  if (config.attention_bias) arch.attention_bias = *config.attention_bias;
  if (config.init_std) arch.init_std = *config.init_std;
  return arch;
}

}  // namespace aloft
