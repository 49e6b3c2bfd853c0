#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "pipeline/run_config.hpp"

namespace aloft {

/// CLI11 reads "-1" as the largest unsigned number.
[[nodiscard]] CLI::Validator whole_number();

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
/// Which GPU (count, init, plan, doctor).
CLI::Option* add_device_option(CLI::App& command, std::string& gpu);

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
};
[[nodiscard]] Model load_model(const ModelOptions& o);

/// Flags of what init designs: embedding, recipe, expansion, output file (init, plan).
struct DesignOptions {
  std::string recipe = "offset";
  std::string sign;  ///< "", "paper", "causal"
  std::string directions = "keep";
};
void add_design_options(CLI::App& command, RunConfig& config, DesignOptions& o);
/// Flags of the offset family (init, plan).
void add_offset_options(CLI::App& command, OffsetConfig& config);
/// Fills in what was counted apart, and what depends on more than one flag; `command` knows which were given.
/// Throws UsageError.
void settle(const CLI::App& command, RunConfig& config, const CountOptions& count,
            const DesignOptions& design);

}  // namespace aloft
