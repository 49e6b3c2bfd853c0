#include "pipeline/run/manifest.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "host/hash.hpp"
#include "host/json_build.hpp"
#include "host/json_text.hpp"

namespace aloft {

using nlohmann::ordered_json;

std::string manifest_text(const std::string& settings, RunOutcome& outcome, std::string_view backend,
                          const RunFolder& folder) {
  ordered_json manifest = parse_json<ordered_json>(settings, "the settings");
  if (!outcome.corpus_hash.empty()) manifest["corpus-hash"] = outcome.corpus_hash;
  if (manifest.contains("backend"))
    manifest["backend"] = backend;  // not auto: a repetition asks for the same
  ordered_json& record = object_in(manifest, "manifest");
  record["backend"] = backend;
  if (!outcome.corpus_format.empty()) record["corpus_format"] = outcome.corpus_format;
  if (!outcome.corpus_hash.empty()) {
    record["tokens"] = outcome.tokens;
    if (outcome.coverage) record["unknown_tokens"] = outcome.coverage->unknown;
    record["corpus_vocab"] = outcome.corpus_vocab;
    record["pairs"] = outcome.pairs;
  }
  const ModelShape& s = outcome.shape;
  record["model"] = {{"layers", s.layers},     {"heads", s.heads},        {"kv_heads", s.kv_heads},
                     {"head_dim", s.head_dim}, {"d_model", s.d_model},    {"context", s.context},
                     {"vocab", s.vocab},       {"rope_base", s.rope_base}};
  if (s.vocab == 0) record["model"].erase("vocab");  // not known: the recipe needed none
  for (const StageTime& t : outcome.times)
    array_in(record, "stages").push_back({{"name", t.name}, {"seconds", t.seconds}, {"resumed", t.resumed}});
  for (const std::string& name : RunFolder::file_names()) {
    const std::string path = folder.file(name);
    if (!std::filesystem::exists(path)) continue;
    outcome.files.push_back(name);
    object_in(record, "files")[name] = {{"bytes", std::filesystem::file_size(path)},
                                        {"xxh3_128", hash_of_file(path)}};
  }
  return manifest.dump(1) + "\n";
}

}  // namespace aloft
