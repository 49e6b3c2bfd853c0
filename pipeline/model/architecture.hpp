#pragma once
#include <optional>
#include <string>
#include <vector>

#include "pipeline/model/model.hpp"

namespace aloft {

/// How RoPE's frequencies were stretched for a longer context, as Hugging Face's rope_scaling says it.
struct RopeScaling {
  std::string type = "none";  ///< none, linear, llama3, yarn, longrope, dynamic, or one that is not known
  double factor = 1;
  std::int64_t original_context = 0;                 ///< 0: the model's own
  double low_freq_factor = 1, high_freq_factor = 4;  ///< llama3
  double beta_fast = 32, beta_slow = 1;              ///< yarn
  bool truncate = true;                              ///< yarn: the ramp's ends are whole pairs
  std::optional<double> attention_factor;            ///< yarn, longrope; absent: from the factor
  std::optional<double> mscale, mscale_all_dim;      ///< yarn: what it is computed from
  std::vector<double> short_factor, long_factor;     ///< longrope: [pairs]
};

/// One "model_type" of Hugging Face's config.json that is such a model. Both texts are JSON objects.
struct ModelType {
  std::string name;
  std::string defaults;  ///< the fields that it reads, with what they are where a file leaves them out
  std::string only;      ///< fields that must have this value where a file gives them
};

/// A model family as data: how its checkpoint names, orients and fuses the tensors of the canonical form, and
/// what its attention does with them. Parsed from JSON (tools/architectures/README.md documents every field);
/// unknown fields, missing fields and values out of range throw InputError naming the JSON path.
struct Architecture {
  enum class Orientation { out_in, in_out };  ///< nn.Linear [out, in]; Hugging Face Conv1D [in, out]
  enum class Fusion {
    separate,
    concatenated,
    interleaved_by_head
  };  ///< q,k,v apart; [q;k;v]; per head [q;k;v]
  enum class Position { rope, learned, alibi, none };
  enum class Pairing { half, interleaved };  ///< rotary pair i: rows (i, i + r/2) or (2i, 2i + 1)
  enum class Norm { layernorm, rmsnorm };

  std::string name;
  std::string description;

  Fusion fusion = Fusion::separate;
  Orientation orientation = Orientation::out_in;
  std::string query, key, value;  ///< names with {layer}; separate only
  std::string qkv;                ///< fused only
  std::string output;
  std::string embedding, head;              ///< head may be empty when tied
  std::string final_norm, final_norm_bias;  ///< gain and bias [d] of the norm before the head; may be empty
  std::string attention_norm,
      attention_norm_bias;  ///< with {layer}: of the norm before attention; may be empty
  std::string mlp_output;   ///< name with {layer} of an MLP's output projection; may be empty
  double mlp_ratio = 0;     ///< usual width of an MLP over the model's; 0: no usual one
  bool mlp_gated = false;   ///< silu(gate) · up (SwiGLU); else one projection
  bool mlp_relu2 = false;   ///< that one has relu² after it, not GELU
  bool tied_head = false;   ///< the embedding serves as head and is written once, under its own name
  std::vector<std::string>
      optional_prefixes;  ///< a checkpoint's names may begin with one of them; never written

  Norm norm = Norm::layernorm;
  Position position = Position::learned;
  std::string position_embedding;  ///< learned: the table's name
  Pairing pairing = Pairing::half;
  int rope_sign = 1;  ///< +1: pair (a, b) at position t becomes (a cos tθ − b sin tθ, b cos tθ + a sin tθ)
  double rope_base = 10000;
  double rotary_fraction = 1;  ///< share of head_dim that rotates
  RopeScaling rope_scaling;
  /// Every so many layers one has no positions (the last of them); 0: none. `rotates` says it layer by layer.
  std::int64_t unrotated_every = 0;
  std::vector<bool> rotating;         ///< [layers] which rotate, where a config lists them; empty: see above
  std::optional<double> score_scale;  ///< absent: 1/√head_dim
  bool qk_norm = false;
  bool attention_bias = false;
  bool grouped_query = false;  ///< kv_heads < heads allowed
  bool free_head_dim = false;  ///< heads·head_dim need not be d_model

  // What the model multiplies by; the file is written so that the canonical form is computed all the same.
  double embedding_multiplier = 1;  ///< token embeddings
  double residual_multiplier = 1;   ///< what attention and MLP add
  double logits_multiplier = 1;     ///< logits

  double init_std = 0.02;
  bool init_residual_scaled = true;  ///< W_O at init_std/√(2·layers)

  std::vector<ModelType> model_types;  ///< of Hugging Face; empty for models that it does not have
};

/// `origin` is what errors call the text (a path or "built-in llama").
[[nodiscard]] Architecture parse_architecture(const std::string& json_text, const std::string& origin);

/// Throws UsageError when the sizes do not fit each other or the architecture (heads % kv_heads, odd rotary
/// part, ...).
void check_shape(const Architecture& arch, const ModelShape& shape);

/// Number of rotating rows of a head; even. 0 without RoPE.
[[nodiscard]] std::int64_t rotary_dim(const Architecture& arch, const ModelShape& shape);

/// Whether this layer's heads know positions by RoPE (or by a table, which every layer sees).
[[nodiscard]] bool rotates(const Architecture& arch, std::int64_t layer);

}  // namespace aloft
