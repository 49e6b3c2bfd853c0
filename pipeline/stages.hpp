#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "host/token_source.hpp"
#include "pipeline/context.hpp"
#include "pipeline/values.hpp"

// Every stage, one function each, in the order a run takes them. No stage keeps state; each result can be
// saved and loaded (artifacts.hpp), so any stage can be run alone. Where a stage takes memory worth planning,
// NAME_memory says how much before any work: all that it allocates, its result included, its arguments not;
// never less than it takes, and at most a quarter more where the counts' shape is exact.

namespace aloft {

// ---- count ----

/// dense: one table of counters; striped: a table for some of its rows at a time, the corpus streamed once
/// for each; sparse: no table, positions are grouped or sorted.
enum class CountStrategy { automatic, dense, striped, sparse };

struct CountParams {
  std::int64_t vocab = 0;
  std::int32_t max_lag = 8;
  CountStrategy strategy = CountStrategy::automatic;
  std::int64_t chunk_tokens = 0;       ///< 0: chosen from the plan
  std::int64_t stripe_rows = 0;        ///< striped: source ids counted in a pass; 0: as many as fit
  std::uint64_t memory_bytes = 0;      ///< host memory for all of it; 0: no limit
  std::uint64_t device_bytes = 0;      ///< a device's own memory for all of it; 0: it shares the host's
  bool repeatable = true;              ///< the corpus can be streamed more than once
  std::uint64_t expected_tokens = 0;   ///< for the plan and for `automatic`; 0: unknown
  std::uint64_t expected_entries = 0;  ///< pairs stored at all lags together, for the plan; 0: estimated
  std::uint64_t flush_after =
      0xFFFF'FFFFu;  ///< positions a u32 table may take in before it is emptied into u64
};
/// Starts another pass over the corpus.
using OpenPass = std::function<std::unique_ptr<TokenSource>()>;
/// Streams the corpus as often as plan_count() says, mostly once. Any strategy, chunk size, stripe and thread
/// count give the same bits. Throws InputError when two passes differ, and what plan_count() throws.
[[nodiscard]] Counts count_transitions(Context& ctx, const CountParams& p, const OpenPass& open);
/// Throws InputError naming `origin`, a file, when no two tokens of it stand beside each other.
void require_pairs(const Counts& counts, const std::string& origin);

/// Counts of text whose tokens were drawn independently from the unigram (a shuffled corpus), the null of
/// every asymmetry and spectrum: `tokens` tokens, one document, reproducible from the seed. Of `limits` only
/// the memory counts.
[[nodiscard]] Counts count_shuffled_null(Context& ctx, const Counts& counts, std::uint64_t tokens,
                                         std::uint64_t seed, const CountParams& limits = {});

// ---- embed (science: section 2) ----

/// Rows of U_d √Σ_d of the truncated SVD of the positive PMI of J_1 + J_1ᵀ, by a randomized block Krylov
/// method to convergence. Signs: the entry of largest magnitude in each column is positive.
[[nodiscard]] Embedding embed_ppmi_svd(Context& ctx, const Counts& counts, std::int64_t d,
                                       std::uint64_t seed);
[[nodiscard]] Peak embed_ppmi_svd_memory(const LinearOps& ops, const CountsShape& counts, std::int64_t d);
/// The papers' K0 kernel; dense V×V. Throws ResourceError above memory_bytes, naming what it would need.
[[nodiscard]] Embedding embed_mobius(Context& ctx, const Counts& counts, std::int64_t d,
                                     std::uint64_t memory_bytes);
[[nodiscard]] Peak embed_mobius_memory(std::int64_t vocab, std::int64_t d);
/// A [>= vocab, d] matrix from .npy or .safetensors (tensor: its name, may be empty if the file holds one
/// that fits).
[[nodiscard]] Embedding embed_from_file(Context& ctx, const std::string& path, const std::string& tensor,
                                        std::int64_t vocab, std::int64_t d);
[[nodiscard]] Peak embed_from_file_memory(std::int64_t vocab, std::int64_t d);

// ---- project, decompose (section 3) ----

[[nodiscard]] Projections project(Context& ctx, const Counts& counts, const Embedding& embedding);
/// The P_n alone (the other matrices stay empty): a quarter of the work, and all that decompose() reads.
[[nodiscard]] Projections project_transitions(Context& ctx, const Counts& counts, const Embedding& embedding);
[[nodiscard]] Peak project_memory(const LinearOps& ops, const CountsShape& counts, std::int64_t d);
[[nodiscard]] Peak project_transitions_memory(const LinearOps& ops, const CountsShape& counts,
                                              std::int64_t d);
[[nodiscard]] std::vector<LagAsymmetry> measure_asymmetry(Context& ctx, const Counts& counts);
[[nodiscard]] Peak measure_asymmetry_memory(const LinearOps& ops, const CountsShape& counts);
[[nodiscard]] Spectra decompose(Context& ctx, const Projections& projections);
[[nodiscard]] Peak decompose_memory(const LinearOps& ops, std::int64_t d, std::int64_t lags);

// ---- expand (section 4) ----

enum class ExpandMethod { none, temper, pareto, whiten, stack };
enum class Directions { keep, haar };

struct ExpandParams {
  ExpandMethod method = ExpandMethod::pareto;
  double pr_target = 30;
  Directions directions = Directions::keep;
  std::vector<std::int32_t> layer_lags;  ///< [layers], 1-based lag of each layer
  std::int32_t stack_modes = 0;          ///< planes taken from each lag; 0: d / (2·lags)
  std::vector<double> stack_weights;     ///< [lags] or empty: 1, 1/2, 1/3, ... in the layer's order
  double whiten_ridge = 1e-3;            ///< ρ
  std::uint64_t seed = 0;                ///< for haar
};
/// Throws UsageError when a target exceeds the rank.
[[nodiscard]] ExpandedSpectra expand(Context& ctx, const Projections& projections, const Spectra& spectra,
                                     const ExpandParams& p);
[[nodiscard]] Peak expand_memory(const LinearOps& ops, std::int64_t d, const ExpandParams& p);

// ---- compose (section 5) ----

enum class Sign {
  paper,
  causal
};  ///< M ∝ +A, M ∝ −A (scores are x_queryᵀ M x_key, the query later in the text)

struct ComposeParams {
  std::string recipe = "spread";  ///< random, asymmetry, spread, invariants, mimetic, orthogonal
  Sign sign = Sign::causal;
  double noise = 1;             ///< × the usual random part
  double strength = 1;          ///< ‖M‖ relative to that of the usual random init
  double init_std = 0.02;       ///< the usual init's standard deviation
  bool residual_scaled = true;  ///< usual W_O has init_std / √(2·layers) (GPT-2)
  bool emit_embedding = true;   ///< asymmetry and spread: the file carries E
  double mimetic_value = 0.05;  ///< β: W_O W_V ≈ −β I
  double mimetic_value_noise = 0.01;
  double mimetic_key = -1;  ///< α: W_Qᵀ W_K ≈ α I; < 0: 0.7/√d
  std::uint64_t seed = 0;
};

/// What was injected into one layer, for spectra.json.
struct LayerComposition {
  double scale = 0;                ///< M = scale · A_expanded (sign included); 0 where nothing was injected
  double kernel_norm = 0;          ///< ‖M‖ of the target
  double truncation_residual = 0;  ///< ‖M − M_truncated‖/‖M‖ where the heads cannot hold the full rank
  std::vector<std::pair<std::string, double>> measures;  ///< recipe's own figures (invariants)
};
struct Composition {
  HeadWeights weights;
  std::vector<LayerComposition> layers;
};
/// `expanded` and `embedding` may be null for recipes that read no corpus (random, invariants, mimetic,
/// orthogonal).
[[nodiscard]] Composition compose(Context& ctx, const ComposeParams& p, const ModelShape& shape,
                                  const ExpandedSpectra* expanded, const Embedding* embedding);
/// True for recipes that need counts, embedding and spectra.
[[nodiscard]] bool recipe_reads_corpus(const std::string& recipe);

}  // namespace aloft
