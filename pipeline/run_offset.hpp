#pragma once
#include <map>
#include <string>

#include "pipeline/architecture.hpp"
#include "pipeline/offset/factors.hpp"
#include "pipeline/offset/layout.hpp"
#include "pipeline/stages.hpp"

namespace aloft {

/// What becomes of the statistics before anything is designed from them.
enum class Control { none, shuffled, reversed };

/// What a run of the offset family (offset, bigram-head, embedding, unigram) was asked for.
struct OffsetConfig {
  OffsetParams placement;
  FactorParams factors;  ///< lags and sizes are the layout's
  Control control = Control::none;
};

[[nodiscard]] bool is_offset_recipe(const std::string& recipe);

/// Where the recipe of `compose.recipe` is placed in this model. Throws UsageError for models that cannot
/// host it.
[[nodiscard]] OffsetLayout layout_of(const OffsetConfig& config, const std::string& recipe,
                                     const Architecture& arch, const ModelShape& shape,
                                     std::int32_t counted_lags, std::int64_t corpus_vocab);

/// The counts that `control` designs from: of as many tokens drawn from the unigram, or with source and
/// target exchanged. Control::none: nothing (use the corpus').
[[nodiscard]] Counts controlled_counts(Context& ctx, const Counts& counts, Control control,
                                       std::uint64_t seed);

/// S, U, cores and scalars for a layout.
[[nodiscard]] LagFactors offset_factors(Context& ctx, const Counts& counts, const OffsetConfig& config,
                                        const OffsetLayout& layout, std::uint64_t seed);

/// What recipe unigram needs of them: log p alone.
[[nodiscard]] LagFactors unigram_factors(const Counts& counts, const OffsetLayout& layout);

[[nodiscard]] Composition compose_offset(Context& ctx, const ComposeParams& compose,
                                         const OffsetConfig& config, const Architecture& arch,
                                         const ModelShape& shape, const OffsetLayout& layout,
                                         const LagFactors& factors);

/// offset.json: the scalars and what chose them, where every lag sits and how sharply it looks, losses beside
/// the unigram's.
[[nodiscard]] std::string offset_report_json(const OffsetConfig& config, const std::string& recipe,
                                             const OffsetLayout& layout, const LagFactors& factors,
                                             const Composition& composition);

}  // namespace aloft
