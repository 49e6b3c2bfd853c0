#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/matrix.hpp"
#include "kernels/sparse.hpp"

// What flows between the stages: plain structs, each of which artifacts.hpp can save and load. Matrices live
// in the memory of the context's device; small per-lag and per-layer figures live on the host. Lag n
// (1-based) is item n−1 of every batch. d = model width, m = d/2 (floor) = number of planes of an
// antisymmetric d×d matrix.

namespace aloft {

/// Short blocks of the token stream, evenly spread over it, each with the tokens around it
/// (offset/holdout.hpp).
struct Holdout {
  struct Block {
    std::int64_t first = 0;                       ///< where its tokens start in ids
    std::int64_t before = 0, own = 0, after = 0;  ///< how many stand before, in and after the block
  };
  std::vector<std::uint32_t> ids;  ///< may hold document breaks
  std::vector<Block> blocks;
};

/// J_1..J_max_lag and the unigram of one corpus. Exact.
struct Counts {
  std::int64_t vocab = 0;
  std::int32_t max_lag = 0;
  std::uint64_t tokens = 0;            ///< document breaks not included
  std::string corpus_hash;             ///< XXH3-128 of the id stream, breaks included
  std::vector<std::uint64_t> unigram;  ///< [vocab]
  std::vector<CountCsr> lags;          ///< [max_lag] of [vocab, vocab]
  std::vector<std::uint64_t> pairs;    ///< [max_lag] N_n = sum of J_n
  Holdout holdout;                     ///< part of the corpus and of these counts; may be empty
};

/// What of some counts decides how much memory the stages that read them take.
struct CountsShape {
  std::int64_t vocab = 0;
  std::vector<std::int64_t> entries;  ///< [lags] pairs that each stores, or upper estimates
  [[nodiscard]] std::int64_t most_entries() const;
  [[nodiscard]] std::uint64_t bytes() const;  ///< of all lags
};
[[nodiscard]] CountsShape shape_of(const Counts& counts);

/// Token embedding: row i is token i in the coordinates that every later d×d matrix uses.
struct Embedding {
  Matrix rows;            ///< [vocab, d]; values are representable as F32, so a saved file loses nothing
  std::string method;     ///< "ppmi-svd", "mobius", "file"
  std::int64_t rank = 0;  ///< columns from rank on are zero (fewer directions in the corpus than d)
};

/// The corpus in embedding coordinates, one item per lag.
struct Projections {
  Matrix transition;         ///< P_n = Eᵀ T_n E                                  [lags][d, d]
  Matrix deviation;          ///< R_n = Eᵀ (J_n/N_n − r cᵀ) E                      [lags][d, d]
  Matrix source_covariance;  ///< Eᵀ (diag r − r rᵀ) E, r = row marginal of J_n/N_n [lags][d, d]
  Matrix target_covariance;  ///< Eᵀ (diag c − c cᵀ) E, c = column marginal         [lags][d, d]
};

/// ‖M‖² and ⟨M,Mᵀ⟩ of the V×V matrices of one lag.
struct LagAsymmetry {
  double counts_norm2 = 0, counts_inner = 0;          ///< of J_n
  double transition_norm2 = 0, transition_inner = 0;  ///< of T_n
};

/// Invariant planes of `items` antisymmetric d×d matrices: A = Σ_k sigma_k (l_k r_kᵀ − r_k l_kᵀ).
struct SkewPlanes {
  std::vector<double> sigma;  ///< [items][m] descending; each stands for two equal singular values
  Matrix left, right;         ///< [items][m, d], rows orthonormal within an item
};

struct Spectra {
  SkewPlanes antisymmetric;             ///< of A_n = (P_n − P_nᵀ)/2, one item per lag
  std::vector<double> general_sigma;    ///< of P_n, [lags][d] descending
  std::vector<double> transition_norm;  ///< ‖P_n‖, [lags]
};

/// What one layer will inject: an antisymmetric target of the wanted participation ratio.
struct LayerExpansion {
  std::int32_t lag = 1;
  double pr_target = 0;
  double pr_before = 0, pr_after = 0;  ///< energy participation ratio of the full (paired) spectrum
  double spectral_cosine = 1;          ///< of the sorted singular values before and after
  double matrix_cosine = 1;            ///< ⟨A_before, A_after⟩/(‖·‖‖·‖)
  double subspace_overlap = 1;  ///< mean squared cosine of principal angles, top `overlap_k` directions
  std::int32_t overlap_k = 8;
  std::string method;       ///< "none", "temper", "pareto", "whiten", "stack"
  double parameter = 0;     ///< α (temper, stack), t (pareto), γ (whiten)
  double max_pr = 0;        ///< whiten: the largest PR on the γ grid
  bool reached = true;      ///< whiten alone reached the target (else tempered the rest of the way)
  double temper_after = 1;  ///< the α of that tempering, 1 = none
};

struct ExpandedSpectra {
  SkewPlanes planes;                   ///< one item per layer
  std::vector<LayerExpansion> layers;  ///< [layers]
};

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
