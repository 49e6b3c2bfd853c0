#pragma once
#include <vector>

#include "pipeline/model/architecture.hpp"

namespace aloft {

/// base^(−2i/R), i < R/2: radians a position.
[[nodiscard]] std::vector<double> rope_frequencies(std::int64_t rotary_dim, double base);

/// What RoPE turns a head's pairs by: [rotary_dim / 2] radians a position. rope_frequencies, stretched as the
/// architecture's rope_scaling says, by the formulas of Hugging Face's modeling_rope_utils.py (llama3; yarn,
/// Peng et al. 2023; longrope, Ding et al. 2024: the long factors where the context is longer than the
/// original one). `dynamic` stretches beyond the context alone. Throws UsageError for a type that is not
/// known, and where factors are missing. Without RoPE: none.
[[nodiscard]] std::vector<double> rotary_frequencies(const Architecture& arch, const ModelShape& shape);

/// What such a model multiplies the rotating rows of queries, and of keys, by (yarn, longrope); else 1.
[[nodiscard]] double rotary_amplitude(const Architecture& arch, const ModelShape& shape);

}  // namespace aloft
