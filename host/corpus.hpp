#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/token_source.hpp"

namespace aloft {

inline constexpr const char* kDetectFormat = "auto";
inline constexpr const char* kTextFormat = "text";
enum class InvalidUtf8 { refuse, replace };  ///< replace: U+FFFD for each bad byte

/// What a user said about a corpus.
struct CorpusSpec {
  std::vector<std::string>
      paths;  ///< files or folders of them (corpus_files.hpp); "-" is stdin (at most once)
  std::vector<std::string> exclude;    ///< patterns (fnmatch): files and folders inside a folder to leave out
  std::vector<std::string> outputs;    ///< files that the run writes: in a folder they are no corpus
  std::string format = kDetectFormat;  ///< or kTextFormat, or the name of a token format (token_format.hpp)
  std::string tokenizer = "words";     ///< text only: "bytes", "words", or a SentencePiece .model file
  std::int64_t vocab_size = 0;   ///< words: types kept, unknown id 0 included; token files: ids must be below
  std::int64_t model_vocab = 0;  ///< what stands for vocab_size where that is 0 and one is needed; 0: nothing
  std::string vocabulary;        ///< words: an existing vocab.json to use instead of building one
  std::optional<std::int64_t> doc_sep_id;  ///< token files: this id separates documents
  std::string doc_sep;                     ///< text: this string separates documents; "": none does
  InvalidUtf8 invalid_utf8 = InvalidUtf8::refuse;
  bool several_passes = false;  ///< keep what comes from a pipe, so that it can be streamed again
  std::string spool_folder;     ///< where it is kept; "": the temp folder
};

/// A corpus that can be streamed any number of times (only a pipe that needed no spooling, once: the second
/// open() throws UsageError, see repeatable()). Sources may outlive it. Construction reads what it must (file
/// headers and sizes; for `words` without a vocabulary one whole pass to build it) and throws InputError on
/// the first defect.
class Corpus {
 public:
  Corpus() = default;
  Corpus(const Corpus&) = delete;
  Corpus& operator=(const Corpus&) = delete;
  virtual ~Corpus() = default;

  /// Ids are below this. `words`: as asked for, even if the corpus has fewer types (the ids beyond never
  /// occur).
  [[nodiscard]] virtual std::int64_t vocab_size() const = 0;
  [[nodiscard]] virtual std::unique_ptr<TokenSource> open() = 0;
  [[nodiscard]] virtual bool repeatable() const = 0;  ///< open() works any number of times
  /// Exact for token files and `bytes` (separators included) and after a `words` vocabulary pass, else an
  /// estimate from the size in bytes; 0 unknown (a pipe).
  [[nodiscard]] virtual std::uint64_t expected_tokens() const = 0;
  [[nodiscard]] virtual std::string format_name()
      const = 0;  ///< "text (words)", "u16", "llmc v1", "npy", ...
  /// vocab.json's text, when the tokenizer has a vocabulary worth saving ("bytes": none).
  [[nodiscard]] virtual std::optional<std::string> vocabulary_json() const { return std::nullopt; }
  /// What a user should know of the passes so far; "": nothing.
  [[nodiscard]] virtual std::string reading_note() const { return ""; }
  /// The id of whatever the tokenizer has no id for, where it has such an id.
  [[nodiscard]] virtual std::optional<TokenId> unknown_id() const { return std::nullopt; }
};

/// Progress of the vocabulary pass goes to `progress`, and what a user should know of the files: which were
/// left out, what in them may not be what it was taken for. Files without a byte are left out, unless all
/// are.
class ProgressSink;
[[nodiscard]] std::unique_ptr<Corpus> open_corpus(const CorpusSpec& spec, ProgressSink& progress);

}  // namespace aloft
