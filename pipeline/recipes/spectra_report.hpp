#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/base/context.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/recipes/recipe.hpp"
#include "pipeline/spectra/spectra.hpp"

namespace aloft {

/// What was measured of one corpus: the real one, or its shuffled null in the same embedding.
struct LagMeasurements {
  const Counts* counts = nullptr;
  std::vector<LagAsymmetry> asymmetry;  ///< [lags]
  const Spectra* spectra = nullptr;
};

struct SpectraReport {
  LagMeasurements lags;
  std::optional<LagMeasurements> null;        ///< shuffled text
  const ExpandedSpectra* expanded = nullptr;  ///< null: no layers in the report
  std::vector<LayerComposition> composed;     ///< [layers] or empty
  double pr_target = 0;                       ///< the user's, one more row of each layer's frontier; 0: none
  std::uint64_t seed = 0;                     ///< of the Gaussian null
};

/// The text of spectra.json: per lag and per layer every figure beside its null and, where there is one, the
/// value in the paper. Deterministic: nothing in it depends on time, paths or threads. `ctx` computes the
/// Gaussian null.
[[nodiscard]] std::string spectra_report_json(Context& ctx, const SpectraReport& report);

}  // namespace aloft
