#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "host/corpus.hpp"
#include "host/safetensors.hpp"
#include "pipeline/architecture.hpp"
#include "pipeline/run_offset.hpp"
#include "pipeline/stages.hpp"

namespace aloft {

/// Sizes as the user gave them; what is absent comes from the model config, then from a default where one is
/// sensible.
struct ModelFlags {
  std::optional<std::int64_t> layers, heads, kv_heads, head_dim, d_model, context, vocab, mlp_width;
  std::optional<double> rope_base, init_std;
};

/// Everything `aloft init` was asked to do.
struct RunConfig {
  CorpusSpec corpus;
  std::string counts_file;           ///< start from these counts instead of a corpus
  std::string expected_corpus_hash;  ///< from a manifest: the corpus must still be this one; "": not checked
  std::int32_t lags = 8;
  CountStrategy strategy = CountStrategy::automatic;

  std::string embedding = "ppmi-svd";  ///< or "mobius", or a file
  std::string embedding_tensor;        ///< its name in a safetensors file
  std::uint64_t null_tokens = std::uint64_t{1}
                              << 24;  ///< at most this many for the shuffled null; 0: no null

  ExpandParams expand;  ///< layer_lags empty: layer l takes lag l+1, the last lag repeats
  ComposeParams compose;
  OffsetConfig offset;
  DType dtype = DType::f32;
  bool save_heads = false;

  std::uint64_t seed = 0;
  std::string backend = "auto";
  std::string gpu;  ///< as make_backend() takes it
  int threads = 0;
  std::uint64_t memory_bytes = 0;  ///< 0: no limit
  std::uint64_t device_bytes = 0;  ///< of a GPU's memory; 0: what it has free, less a reserve
  std::string output;
  bool force = false;
};

/// Sizes from flags over `config` over defaults (heads: d_model/64 at least 1; kv_heads = heads; head_dim =
/// d_model/heads; context 1024). Throws UsageError naming the flag that is missing or does not fit.
[[nodiscard]] ModelShape resolve_shape(const ModelFlags& flags, const ModelConfig& config,
                                       const Architecture& arch, std::int64_t corpus_vocab);

/// The architecture with what a model config says of it (RoPE base, rotary share, tied head, ...).
[[nodiscard]] Architecture specialize(Architecture arch, const ModelConfig& config);

/// How to expand for this model: lags of the layers filled in, requests that cannot be met refused
/// (UsageError).
[[nodiscard]] ExpandParams expand_params(const RunConfig& config, const ModelShape& shape);

/// Metadata of the file a run emits. Same request, same bytes: nothing depends on time, path or thread count.
[[nodiscard]] std::map<std::string, std::string> provenance(const RunConfig& config, const Architecture& arch,
                                                            const std::string& corpus_hash);

/// Lag of each layer: layer l takes lag l+1, the last lag repeats.
[[nodiscard]] std::vector<std::int32_t> default_layer_lags(std::int64_t layers, std::int32_t lags);

}  // namespace aloft
