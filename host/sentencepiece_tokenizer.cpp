#include "host/sentencepiece_tokenizer.hpp"

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "host/error.hpp"
#include "host/file_pass.hpp"
#include "host/interrupt.hpp"
#include "host/sentencepiece_model.hpp"

namespace aloft {
namespace {

constexpr std::uint64_t kBytesPerToken = 4;  // of English text, for estimates

// A merge's queue is quicker where it is small, and a cut costs nothing. The scores of a unigram model are
// summed in single precision, over all of what is encoded at once: long parts, to round as the library does.
constexpr SentencePieceWindow kShort{.aim = std::size_t{1} << 13, .most = std::size_t{1} << 18};
constexpr SentencePieceWindow kLong{.aim = std::size_t{1} << 17, .most = std::size_t{1} << 18};

SentencePieceWindow window_of(const SentencePieceModel& model, SentencePieceWindow asked) {
  if (asked.aim != 0) return asked;
  return model.algorithm() == SentencePieceFile::Algorithm::unigram ? kLong : kShort;
}

/// The longest beginning of at most `bytes` that ends with a character's end.
std::string_view whole_characters(std::string_view text, std::size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) --bytes;
  return text.substr(0, bytes);
}

using Forced = std::shared_ptr<std::atomic<std::uint64_t>>;  // cuts where none was safe, of all passes

class SentencePiecePass final : public FilePass {
 public:
  SentencePiecePass(InputFiles files, std::shared_ptr<const SentencePieceModel> model, const CorpusSpec& spec,
                    std::size_t block_bytes, SentencePieceWindow window, Forced forced)
      : FilePass(std::move(files)),
        model_(std::move(model)),
        policy_(spec.invalid_utf8),
        separator_(spec.doc_sep),
        block_bytes_(block_bytes),
        window_(window_of(*model_, window)),
        forced_(std::move(forced)) {}

 private:
  void begin(InputStream& stream, std::size_t) override {
    reader_.emplace(stream, policy_, block_bytes_, separator_);
  }
  bool next_document() override { return reader_->next_document(); }

  bool next_block(std::vector<TokenId>& ids) override {
    const std::string_view text = reader_->next();
    const bool last = text.empty();
    model_->normalizer().feed(document_, text, last, normalized_);
    std::string_view rest = normalized_;
    while (rest.size() > (last ? window_.aim : window_.most)) rest.remove_prefix(encode_part(rest, ids));
    if (last) {
      encode(rest, ids);
      rest = {};
      document_ = {};
      after_unknown_ = false;
    }
    normalized_.erase(0, normalized_.size() - rest.size());
    return !last;
  }

  /// Encodes the beginning of `text`; how much of it.
  std::size_t encode_part(std::string_view text, std::vector<TokenId>& ids) {
    const std::string_view window = whole_characters(text, window_.most);
    std::size_t cut = model_->cuts().last(window, window_.aim);
    if (cut == 0) cut = model_->cuts().first(window, window_.aim);
    if (cut == 0) {
      cut = window.size();
      if (cut < text.size()) ++*forced_;
    }
    encode(text.substr(0, cut), ids);
    return cut;
  }

  void encode(std::string_view text, std::vector<TokenId>& ids) {
    if (text.empty()) return;
    check_interrupt();  // a block holds many parts
    const auto before = static_cast<std::ptrdiff_t>(ids.size());
    model_->encode(text, ids);
    if (after_unknown_ && model_->joins(ids[static_cast<std::size_t>(before)]))
      ids.erase(ids.begin() + before);
    after_unknown_ = model_->joins(ids.back());
  }

  std::shared_ptr<const SentencePieceModel> model_;
  InvalidUtf8 policy_;
  std::string separator_;
  std::size_t block_bytes_;
  SentencePieceWindow window_;
  Forced forced_;
  std::optional<TextReader> reader_;
  SentencePieceNormalizer::Document document_;
  std::string normalized_;  // of the document, not yet encoded
  bool after_unknown_ = false;
};

class SentencePieceCorpus final : public Corpus {
 public:
  SentencePieceCorpus(InputFiles files, std::shared_ptr<const SentencePieceModel> model, CorpusSpec spec,
                      std::size_t block_bytes, SentencePieceWindow window)
      : files_(std::move(files)),
        model_(std::move(model)),
        spec_(std::move(spec)),
        block_bytes_(block_bytes),
        window_(window) {}

  std::int64_t vocab_size() const override { return model_->size(); }
  std::unique_ptr<TokenSource> open() override {
    return std::make_unique<SentencePiecePass>(files_, model_, spec_, block_bytes_, window_, forced_);
  }
  bool repeatable() const override { return rewindable(files_); }
  std::uint64_t expected_tokens() const override { return total_bytes(files_) / kBytesPerToken; }
  std::string format_name() const override { return "text (sentencepiece)"; }
  std::optional<TokenId> unknown_id() const override { return model_->unknown(); }
  std::string reading_note() const override {
    if (*forced_ == 0) return "";
    return fmt::format(
        "in {} places the text had to be cut where a token may have been: long runs of characters that all "
        "are "
        "next to each other in some piece",
        forced_->load());
  }
  std::optional<std::string> vocabulary_json() const override {
    auto out = nlohmann::ordered_json::object();
    out["tokenizer"] = "sentencepiece";
    out["version"] = 1;
    auto& tokens = out["tokens"] = nlohmann::ordered_json::array();
    for (std::int64_t id = 0; id < model_->size(); ++id) tokens.push_back(model_->piece(id));
    return out.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  }

 private:
  InputFiles files_;
  std::shared_ptr<const SentencePieceModel> model_;
  CorpusSpec spec_;
  std::size_t block_bytes_;
  SentencePieceWindow window_;
  Forced forced_ = std::make_shared<std::atomic<std::uint64_t>>(0);
};

}  // namespace

std::unique_ptr<Corpus> open_sentencepiece(InputFiles files, const CorpusSpec& spec, std::size_t block_bytes,
                                           SentencePieceWindow window) {
  auto model = std::make_shared<const SentencePieceModel>(spec.tokenizer);
  if (spec.vocab_size != 0 && spec.vocab_size != model->size())
    throw UsageError(fmt::format("--vocab-size is {}, but {} has {} pieces: leave --vocab-size out",
                                 spec.vocab_size, spec.tokenizer, model->size()));
  for (const auto& file : files) refuse_utf16(*file);
  return std::make_unique<SentencePieceCorpus>(std::move(files), std::move(model), spec, block_bytes, window);
}

}  // namespace aloft
