#include "pipeline/run/inputs.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <filesystem>

#include "host/corpus_files.hpp"
#include "host/hash.hpp"

namespace aloft {
std::string inputs_fingerprint(const RunConfig& c) {
  const CorpusSpec& s = c.corpus;
  std::string text = fmt::format(
      "{} {} {} {} {} {} {} {}", s.format, s.tokenizer, s.vocab_size != 0 ? s.vocab_size : s.model_vocab,
      s.vocabulary, s.doc_sep_id.value_or(-1), static_cast<int>(s.invalid_utf8), c.lags, s.doc_sep);
  std::vector<std::string> files;
  for (const auto& [path, of_folder] : corpus_files(s).files) {
    files.push_back(path);
    files.push_back(path + ".index");  // datatrove's, Megatron's: they say where documents end
    files.push_back(std::filesystem::path(path).replace_extension(".idx").string());
  }
  files.push_back(c.counts_file);
  files.push_back(s.vocabulary);
  files.push_back(s.tokenizer);  // a SentencePiece model, unless a built-in's name
  for (const std::string& path : files) {
    if (path == "-") return "";
    struct stat st {};
    if (path.empty() || ::stat(path.c_str(), &st) != 0) continue;
    text += fmt::format("\n{} {} {}.{}", std::filesystem::absolute(path).string(), st.st_size,
                        st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
  }
  return hash_of(text);
}

}  // namespace aloft
