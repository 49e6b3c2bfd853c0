#pragma once
#include "pipeline/analysis/match.hpp"
#include "pipeline/analysis/table.hpp"

// Tables that say of the corpus what the others say of the weights.

namespace aloft::analysis {

/// Table `corpus`: every lag next to shuffled text.
[[nodiscard]] Table corpus_table(Context& ctx, const Counts& counts, const LagSide& side,
                                 const Counts& shuffled, const LagSide& shuffled_side);
/// Table `frontier`: what a participation ratio costs A_n in spectral cosine.
[[nodiscard]] Table frontier_table(const LagSide& side);
/// Table `spectra`, empty; and rows of it: at most kSpectrumPoints of each, evenly spread over log(index).
[[nodiscard]] Table spectra_table();
void add_spectrum(Table& spectra, const std::string& subject, std::optional<std::int64_t> layer,
                  std::optional<std::int64_t> lag, std::span<const double> sigma);
void add_lag_spectra(Table& spectra, const LagSide& side);

}  // namespace aloft::analysis
