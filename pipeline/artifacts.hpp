#pragma once
#include <optional>
#include <string>

#include "pipeline/offset/factors.hpp"
#include "pipeline/values.hpp"

// Saving and loading what flows between stages, as safetensors. `key` names what the artifact was made from
// (a hash of parameters and inputs). load_* returns nothing when the file is absent or was made under another
// key, and throws InputError when the file claims to be whole but is not. Writing is atomic; files hold no
// time, path or thread count.

namespace aloft {

/// lag{n}.row_offsets U64 [V+1], lag{n}.columns U32, lag{n}.counts U64 (n = 1..lags); unigram U64 [V]; where
/// a slice was held out, holdout.ids U32 and holdout.blocks I64 [blocks, 4] (first id, tokens before, in and
/// after it).
void save(const std::string& path, const Counts& counts, const std::string& key);
/// embedding F32 [V, d].
void save(const std::string& path, const Embedding& embedding, const std::string& key);
/// transition, deviation, source_covariance, target_covariance F64 [lags, d, d].
void save(const std::string& path, const Projections& projections, const std::string& key);
/// sigma F64 [lags, m]; left, right F64 [lags, m, d]; general_sigma F64 [lags, d]; transition_norm F64
/// [lags].
void save(const std::string& path, const Spectra& spectra, const std::string& key);
/// sigma F64 [layers, m]; left, right F64 [layers, m, d]; figures of each layer in the metadata.
void save(const std::string& path, const ExpandedSpectra& expanded, const std::string& key);

/// source [V, d_s], target [V, d_o], cores [lags, d_s, d_o], bias [V], lag_weights, participation [lags],
/// scalars; F64.
void save(const std::string& path, const LagFactors& factors, const std::string& key);

/// An empty key accepts any.
[[nodiscard]] std::optional<Counts> load_counts(Device& device, const std::string& path,
                                                const std::string& key);
[[nodiscard]] std::optional<Embedding> load_embedding(Device& device, const std::string& path,
                                                      const std::string& key);
[[nodiscard]] std::optional<Projections> load_projections(Device& device, const std::string& path,
                                                          const std::string& key);
[[nodiscard]] std::optional<Spectra> load_spectra(Device& device, const std::string& path,
                                                  const std::string& key);
[[nodiscard]] std::optional<ExpandedSpectra> load_expanded(Device& device, const std::string& path,
                                                           const std::string& key);
[[nodiscard]] std::optional<LagFactors> load_factors(Device& device, const std::string& path,
                                                     const std::string& key);

}  // namespace aloft
