#include "host/corpus.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "host/bytes_tokenizer.hpp"
#include "host/corpus_selection.hpp"
#include "host/error.hpp"
#include "host/progress.hpp"
#include "host/sentencepiece_tokenizer.hpp"
#include "host/token_files.hpp"
#include "host/utf8.hpp"
#include "host/vocabulary.hpp"
#include "host/words_tokenizer.hpp"

namespace aloft {
namespace {

bool is_model_name(std::string_view tokenizer) { return tokenizer.ends_with(".model"); }

/// What is wrong whatever the files hold.
void check_options(const CorpusSpec& spec) {
  if (spec.paths.empty()) throw UsageError("no corpus: name at least one file, or - for stdin");
  for (const auto& path : spec.paths)
    if (path.empty()) throw UsageError("a corpus file has an empty name");
  if (std::count(spec.paths.begin(), spec.paths.end(), "-") > 1)
    throw UsageError("- (stdin) is given more than once");
  if (spec.vocab_size < 0 || spec.vocab_size > kMaxVocab)
    throw UsageError(fmt::format("--vocab-size {} is out of range (1 to 2^31)", spec.vocab_size));
  if (spec.tokenizer != "words" && spec.tokenizer != "bytes" && !is_model_name(spec.tokenizer))
    throw UsageError(fmt::format(
        "tokenizer \"{}\" is not known: words, bytes or a SentencePiece file (*.model); with any other, "
        "tokenize first and give the ids (--format u16, u32 or npy)",
        spec.tokenizer));
  if (valid_utf8_prefix(spec.doc_sep) != spec.doc_sep.size())
    throw UsageError("--doc-sep is not valid UTF-8, so no text holds it");
}

/// Text without a separator, watched for the string that ends a document in many corpora.
class WatchedText final : public Corpus {
 public:
  WatchedText(std::unique_ptr<Corpus> text, InputFiles files)
      : text_(std::move(text)), files_(std::move(files)) {}

  static constexpr const char* kUsual = "<|endoftext|>";
  /// One line about the first of these files in which it was seen; "": in none.
  static std::string note(const InputFiles& files) {
    for (const auto& file : files)
      if (file->seen())
        return fmt::format(
            "{}: holds {}, which is counted as text; where it ends a document give --doc-sep '{}'",
            file->name(), kUsual, kUsual);
    return "";
  }

  std::int64_t vocab_size() const override { return text_->vocab_size(); }
  std::unique_ptr<TokenSource> open() override { return text_->open(); }
  bool repeatable() const override { return text_->repeatable(); }
  std::uint64_t expected_tokens() const override { return text_->expected_tokens(); }
  std::string format_name() const override { return text_->format_name(); }
  std::optional<std::string> vocabulary_json() const override { return text_->vocabulary_json(); }
  std::optional<TokenId> unknown_id() const override { return text_->unknown_id(); }
  std::string reading_note() const override {
    const std::string of_text = text_->reading_note(), of_files = note(files_);
    return of_text.empty() ? of_files : of_files.empty() ? of_text : of_files + "; " + of_text;
  }

 private:
  std::unique_ptr<Corpus> text_;
  InputFiles files_;
};

std::unique_ptr<Corpus> open_text(InputFiles files, const CorpusSpec& spec, ProgressSink& progress) {
  if (spec.tokenizer == "words") return open_words(std::move(files), spec, progress);
  if (!spec.vocabulary.empty()) throw UsageError("--vocabulary is for the words tokenizer only");
  if (spec.tokenizer == "bytes") return open_bytes(std::move(files), spec);
  return open_sentencepiece(std::move(files), spec);
}

/// A model's config knows it too.
void settle_vocab_size(CorpusSpec& spec, const std::string& format, ProgressSink& progress) {
  const bool needed = format != kTextFormat || (spec.tokenizer == "words" && spec.vocabulary.empty());
  if (!needed || spec.vocab_size != 0 || spec.model_vocab == 0) return;
  spec.vocab_size = spec.model_vocab;
  progress.note(fmt::format("note: --vocab-size is not given: {}, as the model has", spec.vocab_size));
}

}  // namespace

std::unique_ptr<Corpus> open_corpus(const CorpusSpec& asked, ProgressSink& progress) {
  check_options(asked);
  auto [files, format] = open_files(asked, progress);
  CorpusSpec spec = asked;
  settle_vocab_size(spec, format, progress);
  if (format != kTextFormat) {
    const TokenFormat* ids = find_token_format(format);
    if (ids == nullptr) throw UsageError("no format is called '" + format + "'");
    return open_token_files(std::move(files), spec, *ids);
  }

  if (spec.doc_sep_id)
    throw UsageError(
        "--doc-sep-id is for files of token ids; in text --doc-sep names the string between documents");
  if (!spec.doc_sep.empty()) return open_text(std::move(files), spec, progress);
  for (const auto& file : files) {
    file->watch_for(WatchedText::kUsual);
    static_cast<void>(file->head());  // what begins with it is told at once
  }
  auto text = open_text(files, spec, progress);
  if (const std::string note = WatchedText::note(files); !note.empty()) {
    progress.note("note: " + note);  // before hours of counting
    return text;
  }
  return std::make_unique<WatchedText>(std::move(text), std::move(files));
}

}  // namespace aloft
