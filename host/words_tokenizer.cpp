#include "host/words_tokenizer.hpp"

#include <fmt/format.h>
#include <utf8proc.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "host/atomic_file.hpp"
#include "host/error.hpp"
#include "host/file_pass.hpp"
#include "host/plural.hpp"
#include "host/unspaced_scripts.hpp"
#include "host/vocabulary.hpp"

namespace aloft {
namespace {

constexpr std::uint64_t kTextBytesPerToken = 4;  // of English text, for estimates

/// White space as Python's str.isspace() has it: bidirectional type WS, B or S, or category Zs.
bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_letter(char32_t c) {
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

class WordsPass final : public FilePass {
 public:
  WordsPass(InputFiles files, std::shared_ptr<const Vocabulary> vocabulary, const CorpusSpec& spec,
            std::size_t block_bytes)
      : FilePass(std::move(files)),
        vocabulary_(std::move(vocabulary)),
        policy_(spec.invalid_utf8),
        separator_(spec.doc_sep),
        block_bytes_(block_bytes) {}

 private:
  void begin(InputStream& stream, std::size_t) override {
    reader_.emplace(stream, policy_, block_bytes_, separator_);
  }
  bool next_document() override { return reader_->next_document(); }
  bool next_block(std::vector<TokenId>& ids) override {
    const auto sink = [&](std::string_view token) { ids.push_back(vocabulary_->id(token)); };
    const std::string_view text = reader_->next();
    if (text.empty()) {
      scanner_.finish(sink);
      return false;
    }
    scanner_.scan(text, sink);
    return true;
  }

  std::shared_ptr<const Vocabulary> vocabulary_;
  InvalidUtf8 policy_;
  std::string separator_;
  std::size_t block_bytes_;
  std::optional<TextReader> reader_;
  WordsScanner scanner_;
};

class WordsCorpus final : public Corpus {
 public:
  WordsCorpus(InputFiles files, std::shared_ptr<const Vocabulary> vocabulary, CorpusSpec spec,
              std::uint64_t expected, std::size_t block_bytes)
      : files_(std::move(files)),
        vocabulary_(std::move(vocabulary)),
        spec_(std::move(spec)),
        expected_(expected),
        block_bytes_(block_bytes) {}

  std::int64_t vocab_size() const override { return vocabulary_->size(); }
  std::unique_ptr<TokenSource> open() override {
    return std::make_unique<WordsPass>(files_, vocabulary_, spec_, block_bytes_);
  }
  bool repeatable() const override { return rewindable(files_); }
  std::uint64_t expected_tokens() const override { return expected_; }
  std::string format_name() const override { return "text (words)"; }
  std::optional<std::string> vocabulary_json() const override { return vocabulary_->json(); }
  std::optional<TokenId> unknown_id() const override { return 0; }

 private:
  InputFiles files_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  CorpusSpec spec_;
  std::uint64_t expected_;
  std::size_t block_bytes_;
};

struct Types {
  TokenTable table;
  std::vector<std::uint64_t> counts;  // [table.size()]
  std::uint64_t tokens = 0;           // over-long ones included
};

Types count_types(const InputFiles& files, const CorpusSpec& spec, ProgressSink& progress,
                  std::size_t block_bytes) {
  Types types;
  const auto sink = [&](std::string_view token) {
    ++types.tokens;
    if (token.empty()) return;
    const std::uint32_t number = types.table.insert(token);
    if (number == types.counts.size()) types.counts.push_back(0);
    ++types.counts[number];
  };
  const auto total = static_cast<double>(total_bytes(files));
  std::uint64_t before = 0;
  for (const auto& file : files) {
    const auto stream = file->open();
    TextReader reader(*stream, spec.invalid_utf8, block_bytes, spec.doc_sep);
    WordsScanner scanner;
    do {
      for (std::string_view text = reader.next(); !text.empty(); text = reader.next()) {
        scanner.scan(text, sink);
        progress.update("vocabulary", static_cast<double>(before + stream->offset()), total, types.tokens,
                        "tokens");
      }
      scanner.finish(sink);
    } while (reader.next_document());
    before += stream->offset();
  }
  return types;
}

}  // namespace

WordsScanner::Character WordsScanner::classify(char32_t c) {
  const auto lower = static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
  Character out;
  out.length = static_cast<unsigned char>(encode_utf8(lower, out.bytes));
  out.kind = is_letter(lower) ? letter : lower != '\n' && is_space(lower) ? space : single;
  return out;
}

WordsScanner::AsciiTable::AsciiTable() : letter_of{} {
  for (unsigned char c = 0; c < 128; ++c) {
    const Character character = classify(c);
    kind[c] = character.kind;
    if (character.kind == letter) letter_of[c] = character.bytes[0];
  }
}
const WordsScanner::AsciiTable WordsScanner::kAscii;

std::unique_ptr<Corpus> open_words(InputFiles files, const CorpusSpec& spec, ProgressSink& progress,
                                   std::size_t block_bytes) {
  for (const auto& file : files) refuse_utf16(*file);
  if (!spec.vocabulary.empty()) {
    auto vocabulary = std::make_shared<const Vocabulary>(read_file(spec.vocabulary), spec.vocabulary);
    if (spec.vocab_size != 0 && spec.vocab_size != vocabulary->size())
      throw UsageError(fmt::format("--vocab-size is {}, but {} holds {}: leave one of the two out",
                                   spec.vocab_size, spec.vocabulary, counted(vocabulary->size(), "token")));
    const std::uint64_t expected = total_bytes(files) / kTextBytesPerToken;
    return std::make_unique<WordsCorpus>(std::move(files), std::move(vocabulary), spec, expected,
                                         block_bytes);
  }
  if (spec.vocab_size < 2)
    throw UsageError(
        "the words tokenizer needs --vocab-size (at least 2: the unknown token and one more) or a "
        "vocabulary");
  for (const auto& file : files) file->spool(spec.spool_folder);
  const Types types = count_types(files, spec, progress, block_bytes);
  if (types.tokens == 0)
    throw InputError(files.front()->name() + ": there is no token in the text, only white space");
  if (const std::string warning = unspaced_warning(types.table, types.counts); !warning.empty())
    progress.note(warning);
  auto vocabulary = std::make_shared<const Vocabulary>(types.table, types.counts, spec.vocab_size);
  return std::make_unique<WordsCorpus>(std::move(files), std::move(vocabulary), spec, types.tokens,
                                       block_bytes);
}

}  // namespace aloft
