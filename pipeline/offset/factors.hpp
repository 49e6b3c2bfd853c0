#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/base/context.hpp"
#include "pipeline/counts/counts.hpp"

// The additive model of the next token that the `offset` recipe writes into attention (science: section 5.4,
// "what to carry"): logit_j = bias_j + Σ_n (S[token n − 1 places back] G_n Uᵀ)_j, n = 1..lags. S and U are
// shared by all lags, one core G_n per lag. Two estimators make it from the same counts.

namespace aloft {

inline constexpr Stage kFactors{.name = "factors", .version = 3, .artifact = "factors"};

enum class Estimator { discriminant, tucker };

struct FactorParams {
  Estimator estimator = Estimator::discriminant;
  std::int32_t lags = 4;
  std::int64_t d_s = 0, d_o = 0;  ///< columns of S and U, both at most the vocabulary
  // What is absent is chosen on the held-out slice of the counts, or is the default where they have none.
  std::optional<double> alpha;  ///< discriminant: scale of the evidence (0.5)
  std::optional<double> kappa;  ///< pseudo-counts (discriminant 30, tucker 200)
  std::optional<double> ridge;  ///< discriminant: λ (1)
  std::uint64_t seed = 0;
};
[[nodiscard]] std::string key_json(const FactorParams& p);

struct LagFactors {
  std::int64_t vocab = 0, d_s = 0, d_o = 0;
  std::int32_t lags = 0;
  std::vector<double> source;  ///< S [vocab, d_s], rows of unit length (zero for a token without statistics)
  std::vector<double> target;  ///< U [vocab, d_o]
  std::vector<double> cores;   ///< G_1.. [lags][d_s, d_o]
  std::vector<double> bias;    ///< [vocab], of mean 0 under the unigram
  std::vector<double> log_p;   ///< [vocab] what `bias` is without any evidence: log p, of mean 0 too
  double written_norm = 0;     ///< √E‖Σ_n S[·] G_n‖² over the corpus

  // How it came about.
  Estimator estimator = Estimator::discriminant;
  double alpha = 0, kappa = 0, ridge = 0;
  std::vector<double> lag_weights;  ///< [lags] (discriminant: all 1)
  std::vector<double> participation;  ///< [lags] of the realised map diag(√p) S G_n Uᵀ diag(√p): any basis
  std::int64_t holdout_positions = 0;  ///< 0: nothing was held out, the scalars are defaults
  double holdout_unigram_loss = 0;     ///< nats; of log p alone, statistics without the slice
  double holdout_error = 0;            ///< standard error of holdout_loss, over blocks of text
  double holdout_loss = 0;  ///< nats; of the additive model at the chosen scalars, before truncation
                            ///< to d_o (discriminant) or with it (tucker)
};

/// source [V, d_s], target [V, d_o], cores [lags, d_s, d_o], bias [V], lag_weights, participation [lags],
/// scalars; F64.
void save(const std::string& path, const LagFactors& factors, const std::string& key);
template <>
[[nodiscard]] std::optional<LagFactors> load<LagFactors>(Device& device, const std::string& path,
                                                         const std::string& key);

namespace offset {
/// log p of the smoothed unigram less its mean under p: [vocab].
[[nodiscard]] std::vector<double> centred_log_p(const Counts& counts);
}  // namespace offset

/// Throws UsageError when sizes or scalars make no sense, InputError when the counts hold no pair.
[[nodiscard]] LagFactors fit_lag_factors(Context& ctx, const Counts& counts, const FactorParams& p);
/// As in counts/counts.hpp; for counts that hold a slice of their text with so many positions (held_out.hpp:
/// at most).
[[nodiscard]] Peak fit_lag_factors_memory(const LinearOps& ops, const CountsShape& counts,
                                          const FactorParams& p, std::int64_t positions);

}  // namespace aloft
