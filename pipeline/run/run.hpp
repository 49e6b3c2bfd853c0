#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/base/context.hpp"
#include "pipeline/counts/coverage.hpp"
#include "pipeline/model/composition.hpp"
#include "pipeline/run/config.hpp"

// The page to begin with for a whole run: `aloft init` from request to manifest. config.hpp: what it is
// asked; plan.hpp: what it will take; folder.hpp: what is kept and resumed; obtain_counts.hpp: its corpus;
// manifest.hpp: what it did. What it designs is the recipe's business (recipes/recipe.hpp).

namespace aloft {

/// What a finished run has to say for itself.
struct RunOutcome {
  ModelShape shape;
  std::string corpus_format;  ///< "" when the recipe read no corpus
  std::string corpus_hash;
  std::int64_t corpus_vocab = 0;
  std::uint64_t tokens = 0;
  std::optional<Coverage> coverage;           ///< where the counts know their unknown id
  std::vector<std::uint64_t> pairs;           ///< [lags]
  std::vector<double> corpus_pr;              ///< [lags] energy participation ratio of A_n
  std::vector<LayerExpansion> layers;         ///< empty when the recipe injects nothing
  std::vector<LayerComposition> composition;  ///< [layers]
  std::vector<StageTime> times;
  std::vector<std::string> files;  ///< names in the run's folder
  std::size_t tensors = 0;
  bool resumed = false;
};

/// `aloft init`: composes the stages in config.output, resuming finished ones. `settings_json` is the same
/// request as an object of flags: it goes into the manifest, which makes the manifest a config. `note` gets
/// one line for each thing a user should know (warnings, choices).
[[nodiscard]] RunOutcome run_init(const RunConfig& config, const ModelFlags& flags,
                                  const ModelConfig& model_config, const Architecture& architecture,
                                  const std::string& settings_json, ProgressSink& progress,
                                  const std::function<void(const std::string&)>& note);

}  // namespace aloft
