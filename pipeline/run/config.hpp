#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "host/corpus.hpp"
#include "host/safetensors.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/model/model_config.hpp"
#include "pipeline/recipes/params.hpp"

namespace aloft {

/// Everything `aloft init` was asked to do.
struct RunConfig : DesignParams {
  CorpusSpec corpus;
  std::string counts_file;           ///< start from these counts instead of a corpus
  std::string expected_corpus_hash;  ///< from a manifest: the corpus must still be this one; "": not checked
  std::int32_t lags = 8;
  CountStrategy strategy = CountStrategy::automatic;

  DType dtype = DType::f32;
  bool save_heads = false;

  std::uint64_t seed = 0;
  std::string backend = "auto";
  std::string gpu;  ///< as make_backend() takes it
  int threads = 0;
  std::uint64_t memory_bytes = 0;  ///< 0: no limit
  std::string memory_limit;        ///< what these come from: one clause for messages
  std::string memory_warning;      ///< a line for the user; "": none
  std::uint64_t device_bytes = 0;  ///< of a GPU's memory; 0: what it has free, less a reserve
  std::string output;
  bool force = false;
};

/// The design's parameters with what depends on the rest of the request: every random number from the one
/// seed, the usual init as flags or architecture say.
[[nodiscard]] DesignParams design_params(const RunConfig& config, const ModelFlags& flags,
                                         const Architecture& arch);

/// Metadata of the file a run emits. Same request, same bytes: nothing depends on time, path or thread count.
[[nodiscard]] std::map<std::string, std::string> provenance(const RunConfig& config, const Architecture& arch,
                                                            const ModelShape& shape,
                                                            const std::string& corpus_hash);

}  // namespace aloft
