#include "host/bytes_tokenizer.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "host/error.hpp"
#include "host/file_pass.hpp"

namespace aloft {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{1} << 20;
constexpr std::int64_t kByteValues = 256;

class BytesPass final : public FilePass {
 public:
  explicit BytesPass(InputFiles files) : FilePass(std::move(files)), block_(kBlockBytes) {}

 private:
  void begin(InputStream& stream, std::size_t) override { stream_ = &stream; }
  bool next_block(std::vector<TokenId>& ids) override {
    const std::size_t n = stream_->read(block_);
    const std::size_t first = ids.size();
    ids.resize(first + n);
    for (std::size_t k = 0; k < n; ++k) ids[first + k] = static_cast<unsigned char>(block_[k]);
    return n != 0;
  }

  std::vector<char> block_;
  InputStream* stream_ = nullptr;
};

class BytesCorpus final : public Corpus {
 public:
  explicit BytesCorpus(InputFiles files) : files_(std::move(files)) {}
  std::int64_t vocab_size() const override { return kByteValues; }
  std::unique_ptr<TokenSource> open() override { return std::make_unique<BytesPass>(files_); }
  bool repeatable() const override { return rewindable(files_); }
  std::uint64_t expected_tokens() const override { return total_bytes(files_); }
  std::string format_name() const override { return "text (bytes)"; }

 private:
  InputFiles files_;
};

}  // namespace

std::unique_ptr<Corpus> open_bytes(InputFiles files, const CorpusSpec& spec) {
  if (spec.vocab_size != 0 && spec.vocab_size != kByteValues)
    throw UsageError(fmt::format("--vocab-size is {}, but the bytes tokenizer has {} ids: leave it out",
                                 spec.vocab_size, kByteValues));
  return std::make_unique<BytesCorpus>(std::move(files));
}

}  // namespace aloft
