#pragma once
#include <cstdint>
#include <vector>

// The page to begin with for models: their sizes, and their weights in one canonical form. architecture.hpp
// describes a family's checkpoint as data, model_config.hpp reads Hugging Face's config.json and settles
// sizes, usual_init.hpp is the init that everybody uses, and emit.hpp writes the canonical form as a
// checkpoint.

namespace aloft {

/// Sizes of the model to initialise. All positive; heads % kv_heads == 0.
struct ModelShape {
  std::int64_t layers = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t d_model = 0;
  std::int64_t context = 0;
  std::int64_t vocab = 0;  ///< rows of the model's embedding, >= the corpus vocabulary
  double rope_base = 10000;
  std::int64_t rotary_dim = 0;  ///< rows of a head that RoPE rotates, even; 0: no RoPE
  std::int64_t mlp_width = 0;   ///< hidden width of an MLP; 0: not known
};

/// One layer's attention in the canonical form: y = Σ_h W_O,hᵀ Σ_j p_hj W_V,g(h) x_j, scores q·k/√d_h with
/// q = W_Q,h x, k = W_K,g(h) x, g(h) = h / (heads / kv_heads). RoPE, where the model has it, pairs rows i and
/// i + r/2 of a head (r = rotary part); emit reorders rows for models that pair differently.
struct LayerHeads {
  std::vector<float> query;  ///< [heads, head_dim, d]
  std::vector<float> key;    ///< [kv_heads, head_dim, d]
  std::vector<float> value;  ///< [kv_heads, head_dim, d]
  std::vector<float>
      output;  ///< [heads, head_dim, d]: row r of head h is the column h·d_h + r of the checkpoint's W_O
};

/// What a recipe designed, for one model.
struct HeadWeights {
  std::vector<LayerHeads> layers;
  // Each empty where the recipe leaves the model's own.
  std::vector<float> embedding;                ///< [shape.vocab, d]
  std::vector<float> head;                     ///< [shape.vocab, d]; untied heads only
  std::vector<float> position;                 ///< [shape.context, d] table of learned positions
  std::vector<float> final_norm;               ///< [d] gain
  std::vector<float> final_norm_bias;          ///< [d]
  std::vector<std::vector<float>> mlp_output;  ///< [layers] of [d, mlp_width], as nn.Linear's weight
};

}  // namespace aloft
