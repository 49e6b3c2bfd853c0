#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "host/corpus.hpp"

namespace aloft {

// What `aloft inspect` says of a file, by its kind. Each takes memory for what the file holds, never for what
// it says that it holds, and throws InputError for a file that is not what its name says.

/// Vocabulary, manifest, report, Hugging Face config or architecture.
[[nodiscard]] nlohmann::ordered_json json_summary(const std::string& path);
/// The same of text; `path` names it in errors.
[[nodiscard]] nlohmann::ordered_json json_summary_of(const std::string& text, const std::string& path);

/// Every tensor; of counts, every lag.
[[nodiscard]] nlohmann::ordered_json safetensors_summary(const std::string& path);

/// Text or token ids, streamed once. Without a vocabulary size any id will do.
[[nodiscard]] nlohmann::ordered_json corpus_summary(CorpusSpec spec, ProgressSink& progress);

/// The run in a folder: its manifest, or what there is of an unfinished one. Null: there is no run.
[[nodiscard]] nlohmann::ordered_json run_folder_summary(const std::string& path);
/// The model in a folder that has a config.json and weights: what the config says, and how many tensors each
/// file holds. Null: there is none.
[[nodiscard]] nlohmann::ordered_json checkpoint_summary(const std::string& path);

}  // namespace aloft
