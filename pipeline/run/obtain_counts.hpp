#pragma once
#include <functional>
#include <string>

#include "host/progress.hpp"
#include "pipeline/base/stage.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/run/folder.hpp"
#include "pipeline/run/plan.hpp"

namespace aloft {

/// What obtain_counts() works with.
struct CountingRun {
  const RunConfig& config;
  const Recipe& recipe;
  Context& ctx;
  Stages& stages;
  RunFolder& folder;
  ProgressSink& progress;
  const std::function<void(const std::string&)>& note;
  /// Called once the corpus is known and before hours of counting: settles sizes and plan, refuses what
  /// cannot be, and begins the folder.
  std::function<RunPlan(const CorpusFacts&)> settle;
};

struct CountedCorpus {
  Keyed<Counts> counts;
  std::string format;  ///< of the corpus; "" when it was not read
};

/// Of the config's counts file, the lags that the run uses. Throws InputError for a file that is none or,
/// where the recipe reads it, has no held-out slice; UsageError for fewer lags.
[[nodiscard]] Counts load_counts(Context& ctx, const RunConfig& config, const Recipe& recipe);
/// What they say of their corpus. A plan made from these takes them for loaded: they stay so.
[[nodiscard]] CorpusFacts facts_of(const Counts& counts);

/// The counts of the run's corpus, saved in its folder with their vocabulary: those that are there already,
/// or a file's, or counted now. Throws InputError for a corpus without pairs or of another hash than
/// expected.
[[nodiscard]] CountedCorpus obtain_counts(const CountingRun& run);

}  // namespace aloft
