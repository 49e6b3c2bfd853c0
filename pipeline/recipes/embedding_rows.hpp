#pragma once
#include <vector>

#include "pipeline/model/usual_init.hpp"
#include "pipeline/spectra/spectra.hpp"

namespace aloft::recipes {

/// The token embedding a file carries, [shape.vocab, d]: rows of E scaled to the norm a usual row has,
/// embedding_std · √d; zero rows of E and rows beyond its vocabulary get the usual init.
/// Throws UsageError when E has more rows than the model.
[[nodiscard]] std::vector<float> embedding_rows(Context& ctx, const UsualInit& p, const ModelShape& shape,
                                                const Embedding& embedding);

}  // namespace aloft::recipes
