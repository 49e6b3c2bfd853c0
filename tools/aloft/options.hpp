#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "pipeline/recipes/recipe.hpp"
#include "pipeline/run/config.hpp"

namespace aloft {

/// What every command takes.
struct OutputOptions {
  bool json = false;
  bool quiet = false;
};
void add_output_options(CLI::App& command, OutputOptions& o);

/// Flags that describe a corpus (count, init, plan).
void add_corpus_options(CLI::App& command, CorpusSpec& spec);

/// Flags that say how to count, and with what.
struct CountOptions {
  std::int32_t lags = 8;
  CountStrategy strategy = CountStrategy::automatic;
  std::string backend = "auto";
  std::string gpu;
  int threads = 0;
  std::string memory, device_memory;  ///< as typed
};
void add_count_options(CLI::App& command, CountOptions& o);
/// Those of them that say with what.
void add_backend_options(CLI::App& command, CountOptions& o, const std::string& group);
/// Which GPU (count, init, plan, doctor).
CLI::Option* add_device_option(CLI::App& command, std::string& gpu);

/// --counts, in place of a corpus (init, plan).
void add_counts_file_option(CLI::App& command, RunConfig& config);

/// Flags of a model's architecture and sizes (init, plan).
struct ModelOptions {
  std::string arch;          ///< a built-in's name or a JSON file; "": from the model config
  std::string model_config;  ///< a Hugging Face config.json
  ModelFlags sizes;
};
void add_model_options(CLI::App& command, ModelOptions& o);
/// The architecture and config that `o` names. Throws UsageError (unknown name) or InputError (bad file).
struct Model {
  Architecture architecture;
  ModelConfig config;
  std::vector<std::string> notes;  ///< for people
  /// Ids that it has, as far as flags or config say; 0: they do not.
  [[nodiscard]] std::int64_t vocab(const ModelFlags& sizes) const {
    return sizes.vocab.value_or(config.vocab.value_or(0));
  }
};
[[nodiscard]] Model load_model(const ModelOptions& o);
/// All built-in architectures.
[[nodiscard]] std::vector<Architecture> parsed_built_ins();

/// Flags of what init designs: embedding, recipe, expansion, output file (init, plan).
struct DesignOptions {
  std::string recipe = "offset";
  std::string sign;  ///< "", "paper", "causal"
  std::string directions = "keep";
};
void add_design_options(CLI::App& command, RunConfig& config, DesignOptions& o);
/// Flags of the offset family (init, plan).
void add_offset_options(CLI::App& command, OffsetConfig& config);
/// Flags of other recipes than this one, without dashes.
[[nodiscard]] std::vector<std::string> foreign_flags(const Recipe& recipe);
/// Adds to the help which recipe each flag is for, and the list of them. Once all flags are there.
void describe_recipes(CLI::App& command);
/// Fills in what was counted apart, and what depends on more than one flag; `command` knows which were given.
/// Throws UsageError, for flags of another recipe too.
void settle(const CLI::App& command, RunConfig& config, const CountOptions& count,
            const DesignOptions& design);

}  // namespace aloft
