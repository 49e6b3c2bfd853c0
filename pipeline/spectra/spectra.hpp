#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/matrix.hpp"
#include "pipeline/counts/counts.hpp"

// The page to begin with for the papers' way: counts in, one expanded spectrum a layer out. embed finds
// coordinates for tokens, project brings the transitions into them, decompose takes spectra, expand spreads
// them. Matrices are in the memory of the context's device; small figures on the host. d = model width,
// m = d/2 (floor) = number of planes of an antisymmetric d×d matrix.

namespace aloft {

inline constexpr Stage kEmbed{.name = "embed", .artifact = "embedding"};
inline constexpr Stage kProject{.name = "project", .artifact = "projections"};
inline constexpr Stage kDecompose{.name = "decompose", .artifact = "spectra"};
inline constexpr Stage kExpand{.name = "expand", .artifact = "expanded"};

// ---- embed (science: section 2) ----

/// Token embedding: row i is token i in the coordinates that every later d×d matrix uses.
struct Embedding {
  Matrix rows;            ///< [vocab, d]; values are representable as F32, so a saved file loses nothing
  std::string method;     ///< "ppmi-svd", "mobius", "file"
  std::int64_t rank = 0;  ///< columns from rank on are zero (fewer directions in the corpus than d)
};
/// embedding F32 [V, d].
void save(const std::string& path, const Embedding& embedding, const std::string& key);
template <>
[[nodiscard]] std::optional<Embedding> load<Embedding>(Device& device, const std::string& path,
                                                       const std::string& key);

struct EmbedParams {
  std::string method = "ppmi-svd";  ///< or "mobius", or a .npy or .safetensors file
  std::string tensor;               ///< its name in a safetensors file; may be empty if one fits
  std::int64_t d = 0;
  std::uint64_t seed = 0;
};
[[nodiscard]] bool from_file(const EmbedParams& p);
/// A file counts by its content.
[[nodiscard]] std::string key_json(const EmbedParams& p);

/// By the method that `p` names. memory_bytes: for mobius.
[[nodiscard]] Embedding embed(Context& ctx, const Counts& counts, const EmbedParams& p,
                              std::uint64_t memory_bytes);
[[nodiscard]] Peak embed_memory(const LinearOps& ops, const CountsShape& counts, const EmbedParams& p);

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

/// The corpus in embedding coordinates, one item per lag.
struct Projections {
  Matrix transition;         ///< P_n = Eᵀ T_n E                                  [lags][d, d]
  Matrix deviation;          ///< R_n = Eᵀ (J_n/N_n − r cᵀ) E                      [lags][d, d]
  Matrix source_covariance;  ///< Eᵀ (diag r − r rᵀ) E, r = row marginal of J_n/N_n [lags][d, d]
  Matrix target_covariance;  ///< Eᵀ (diag c − c cᵀ) E, c = column marginal         [lags][d, d]
};
/// transition, deviation, source_covariance, target_covariance F64 [lags, d, d].
void save(const std::string& path, const Projections& projections, const std::string& key);
template <>
[[nodiscard]] std::optional<Projections> load<Projections>(Device& device, const std::string& path,
                                                           const std::string& key);

[[nodiscard]] Projections project(Context& ctx, const Counts& counts, const Embedding& embedding);
/// The P_n alone (the other matrices stay empty): a quarter of the work, and all that decompose() reads.
[[nodiscard]] Projections project_transitions(Context& ctx, const Counts& counts, const Embedding& embedding);
[[nodiscard]] Peak project_memory(const LinearOps& ops, const CountsShape& counts, std::int64_t d);
[[nodiscard]] Peak project_transitions_memory(const LinearOps& ops, const CountsShape& counts,
                                              std::int64_t d);

/// ‖M‖² and ⟨M,Mᵀ⟩ of the V×V matrices of one lag.
struct LagAsymmetry {
  double counts_norm2 = 0, counts_inner = 0;          ///< of J_n
  double transition_norm2 = 0, transition_inner = 0;  ///< of T_n
};
[[nodiscard]] std::vector<LagAsymmetry> measure_asymmetry(Context& ctx, const Counts& counts);
[[nodiscard]] Peak measure_asymmetry_memory(const LinearOps& ops, const CountsShape& counts);

/// Invariant planes of `items` antisymmetric d×d matrices: A = Σ_k sigma_k (l_k r_kᵀ − r_k l_kᵀ).
struct SkewPlanes {
  std::vector<double> sigma;  ///< [items][m] descending; each is two equal singular values
  Matrix left, right;         ///< [items][m, d], rows orthonormal within an item
};

struct Spectra {
  SkewPlanes antisymmetric;             ///< of A_n = (P_n − P_nᵀ)/2, one item per lag
  std::vector<double> general_sigma;    ///< of P_n, [lags][d] descending
  std::vector<double> transition_norm;  ///< ‖P_n‖, [lags]
};
/// sigma F64 [lags, m]; left, right F64 [lags, m, d]; general_sigma F64 [lags, d]; transition_norm F64
/// [lags].
void save(const std::string& path, const Spectra& spectra, const std::string& key);
template <>
[[nodiscard]] std::optional<Spectra> load<Spectra>(Device& device, const std::string& path,
                                                   const std::string& key);

[[nodiscard]] Spectra decompose(Context& ctx, const Projections& projections);
[[nodiscard]] Peak decompose_memory(const LinearOps& ops, std::int64_t d, std::int64_t lags);

// ---- expand (section 4) ----

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
/// sigma F64 [layers, m]; left, right F64 [layers, m, d]; figures of each layer in the metadata.
void save(const std::string& path, const ExpandedSpectra& expanded, const std::string& key);
template <>
[[nodiscard]] std::optional<ExpandedSpectra> load<ExpandedSpectra>(Device& device, const std::string& path,
                                                                   const std::string& key);

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
[[nodiscard]] std::string key_json(const ExpandParams& p);

/// Throws UsageError when a target exceeds the rank.
[[nodiscard]] ExpandedSpectra expand(Context& ctx, const Projections& projections, const Spectra& spectra,
                                     const ExpandParams& p);
[[nodiscard]] Peak expand_memory(const LinearOps& ops, std::int64_t d, const ExpandParams& p);

}  // namespace aloft
