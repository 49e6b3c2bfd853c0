#include "host/sentencepiece_tokenizer.hpp"

#include <fmt/format.h>
#include <sentencepiece_processor.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "host/atomic_file.hpp"
#include "host/error.hpp"
#include "host/file_pass.hpp"

namespace aloft {
namespace {

constexpr std::uint64_t kBytesPerToken = 4;  // of English text, for estimates

/// A loaded model. Encoding is const and may be used by several passes.
class Model {
 public:
  explicit Model(const std::string& path) {
    const auto status = processor_.LoadFromSerializedProto(read_file(path));
    if (!status.ok() || processor_.GetPieceSize() <= 0)
      throw InputError(fmt::format("{}: is no SentencePiece model: {}", path, one_line(status.ToString())));
    for (const char* piece : {"\n", "<0x0A>"}) {
      const int id = processor_.PieceToId(piece);
      if (newline_ || id < 0 || processor_.IsUnknown(id)) continue;
      newline_ = static_cast<TokenId>(id);
    }
  }

  std::int64_t size() const { return processor_.GetPieceSize(); }
  std::optional<TokenId> newline() const { return newline_; }
  const std::string& piece(std::int64_t id) const { return processor_.IdToPiece(static_cast<int>(id)); }

  void encode(std::string_view text, std::vector<int>& scratch, std::vector<TokenId>& ids) const {
    const auto status = processor_.Encode(absl::string_view(text.data(), text.size()), &scratch);
    if (!status.ok()) throw InputError("SentencePiece: " + one_line(status.ToString()));
    for (const int id : scratch) ids.push_back(static_cast<TokenId>(id));
  }

 private:
  static std::string one_line(std::string text) {
    for (char& c : text)
      if (c == '\n') c = ' ';
    return text;
  }

  sentencepiece::SentencePieceProcessor processor_;
  std::optional<TokenId> newline_;
};

/// Where to cut a line of more than kMaxLineBytes.
std::size_t cut_of(std::string_view line) {
  const std::size_t space = line.rfind(' ', kMaxLineBytes);
  if (space != std::string_view::npos && space > 0) return space;
  std::size_t at = kMaxLineBytes;
  while ((static_cast<unsigned char>(line[at]) & 0xC0) == 0x80) --at;  // not within a character
  return at;
}

class SentencePiecePass final : public FilePass {
 public:
  SentencePiecePass(InputFiles files, std::shared_ptr<const Model> model, InvalidUtf8 policy,
                    std::size_t block_bytes)
      : FilePass(std::move(files)), model_(std::move(model)), policy_(policy), block_bytes_(block_bytes) {}

 private:
  void begin(InputStream& stream, std::size_t) override { reader_.emplace(stream, policy_, block_bytes_); }

  bool next_block(std::vector<TokenId>& ids) override {
    const std::string_view text = reader_->next();
    if (text.empty()) {
      encode_line(line_, ids);
      line_.clear();
      return false;
    }
    std::size_t searched = line_.size(), begin = 0;
    line_ += text;
    for (std::size_t end = 0; (end = line_.find('\n', searched)) != std::string::npos;
         begin = searched = end + 1) {
      encode_line(std::string_view(line_).substr(begin, end - begin), ids);
      if (model_->newline()) ids.push_back(*model_->newline());
    }
    while (line_.size() - begin > kMaxLineBytes)
      begin += encode_part(std::string_view(line_).substr(begin), ids);
    line_.erase(0, begin);
    return true;
  }

  void encode_line(std::string_view line, std::vector<TokenId>& ids) {
    while (line.size() > kMaxLineBytes) line.remove_prefix(encode_part(line, ids));
    if (!line.empty()) model_->encode(line, scratch_, ids);
  }

  std::size_t encode_part(std::string_view line, std::vector<TokenId>& ids) {
    const std::size_t cut = cut_of(line);
    model_->encode(line.substr(0, cut), scratch_, ids);
    return cut;
  }

  std::shared_ptr<const Model> model_;
  InvalidUtf8 policy_;
  std::size_t block_bytes_;
  std::optional<TextReader> reader_;
  std::string line_;  // begun, its end not yet read
  std::vector<int> scratch_;
};

class SentencePieceCorpus final : public Corpus {
 public:
  SentencePieceCorpus(InputFiles files, std::shared_ptr<const Model> model, InvalidUtf8 policy,
                      std::size_t block_bytes)
      : files_(std::move(files)), model_(std::move(model)), policy_(policy), block_bytes_(block_bytes) {}

  std::int64_t vocab_size() const override { return model_->size(); }
  std::unique_ptr<TokenSource> open() override {
    return std::make_unique<SentencePiecePass>(files_, model_, policy_, block_bytes_);
  }
  bool repeatable() const override { return rewindable(files_); }
  std::uint64_t expected_tokens() const override { return total_bytes(files_) / kBytesPerToken; }
  std::string format_name() const override { return "text (sentencepiece)"; }
  std::optional<std::string> vocabulary_json() const override {
    nlohmann::ordered_json out;
    out["tokenizer"] = "sentencepiece";
    out["version"] = 1;
    auto& tokens = out["tokens"] = nlohmann::ordered_json::array();
    for (std::int64_t id = 0; id < model_->size(); ++id) tokens.push_back(model_->piece(id));
    return out.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  }

 private:
  InputFiles files_;
  std::shared_ptr<const Model> model_;
  InvalidUtf8 policy_;
  std::size_t block_bytes_;
};

}  // namespace

std::unique_ptr<Corpus> open_sentencepiece(InputFiles files, const CorpusSpec& spec,
                                           std::size_t block_bytes) {
  auto model = std::make_shared<const Model>(spec.tokenizer);
  if (spec.vocab_size != 0 && spec.vocab_size != model->size())
    throw UsageError(fmt::format("--vocab-size is {}, but {} has {} pieces: leave --vocab-size out",
                                 spec.vocab_size, spec.tokenizer, model->size()));
  for (const auto& file : files) refuse_utf16(*file);
  return std::make_unique<SentencePieceCorpus>(std::move(files), std::move(model), spec.invalid_utf8,
                                               block_bytes);
}

}  // namespace aloft
