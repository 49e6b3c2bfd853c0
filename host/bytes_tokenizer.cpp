#include "host/bytes_tokenizer.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "host/document_stream.hpp"
#include "host/error.hpp"
#include "host/file_pass.hpp"

namespace aloft {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{1} << 20;
constexpr std::int64_t kByteValues = 256;

class BytesPass final : public FilePass {
 public:
  BytesPass(InputFiles files, std::string separator)
      : FilePass(std::move(files)), separator_(std::move(separator)), block_(kBlockBytes) {}

 private:
  void begin(InputStream& stream, std::size_t) override { documents_.emplace(stream, separator_); }
  bool next_document() override { return documents_->next_document(); }
  bool next_block(std::vector<TokenId>& ids) override {
    const std::size_t n = documents_->read(block_);
    const std::size_t first = ids.size();
    ids.resize(first + n);
    for (std::size_t k = 0; k < n; ++k) ids[first + k] = static_cast<unsigned char>(block_[k]);
    return n != 0;
  }

  std::string separator_;
  std::vector<char> block_;
  std::optional<DocumentStream> documents_;
};

class BytesCorpus final : public Corpus {
 public:
  BytesCorpus(InputFiles files, std::string separator)
      : files_(std::move(files)), separator_(std::move(separator)) {}
  std::int64_t vocab_size() const override { return kByteValues; }
  std::unique_ptr<TokenSource> open() override { return std::make_unique<BytesPass>(files_, separator_); }
  bool repeatable() const override { return rewindable(files_); }
  std::uint64_t expected_tokens() const override { return total_bytes(files_); }
  std::string format_name() const override { return "text (bytes)"; }

 private:
  InputFiles files_;
  std::string separator_;
};

}  // namespace

std::unique_ptr<Corpus> open_bytes(InputFiles files, const CorpusSpec& spec) {
  if (spec.vocab_size != 0 && spec.vocab_size != kByteValues)
    throw UsageError(fmt::format("--vocab-size is {}, but the bytes tokenizer has {} ids: leave it out",
                                 spec.vocab_size, kByteValues));
  return std::make_unique<BytesCorpus>(std::move(files), spec.doc_sep);
}

}  // namespace aloft
