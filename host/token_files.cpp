#include "host/token_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "host/error.hpp"
#include "host/file_pass.hpp"
#include "host/vocabulary.hpp"

namespace aloft {
namespace {

constexpr std::size_t kReadBytes = std::size_t{1} << 20;

/// Appends n ids from `data`; returns the index of the first one outside [0, vocab), or n.
template <class T>
std::size_t widen(const char* data, std::size_t n, std::uint64_t vocab, std::vector<TokenId>& ids) {
  const std::size_t first = ids.size();
  ids.resize(first + n);
  const auto at = [data](std::size_t k) {  // negative ids become huge ones
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(load_number<T>(data + k * sizeof(T))));
  };
  bool bad = false;
  for (std::size_t k = 0; k < n; ++k) {
    const std::uint64_t id = at(k);
    bad |= id >= vocab;
    ids[first + k] = static_cast<TokenId>(id);
  }
  if (!bad) return n;
  std::size_t k = 0;
  while (at(k) < vocab) ++k;
  return k;
}

/// f(T{}) with the C++ type T of a layout's items.
template <class F>
auto with_item_type(const TokenLayout& layout, F f) {
  const bool is_signed = layout.kind == 'i';
  switch (layout.item_bytes) {
    case 1:
      return is_signed ? f(std::int8_t{}) : f(std::uint8_t{});
    case 2:
      return is_signed ? f(std::int16_t{}) : f(std::uint16_t{});
    case 4:
      return is_signed ? f(std::int32_t{}) : f(std::uint32_t{});
    default:
      return is_signed ? f(std::int64_t{}) : f(std::uint64_t{});
  }
}

class TokenFilePass final : public FilePass {
 public:
  TokenFilePass(InputFiles files, std::vector<TokenLayout> layouts, const TokenFormat& format,
                const CorpusSpec& spec)
      : FilePass(std::move(files)),
        layouts_(std::move(layouts)),
        format_(format),
        vocab_(static_cast<std::uint64_t>(spec.vocab_size)),
        separator_(spec.doc_sep_id ? static_cast<TokenId>(*spec.doc_sep_id) : kDocumentBreak),
        block_(kReadBytes) {}

 private:
  void begin(InputStream& stream, std::size_t file) override {
    stream_ = &stream;
    layout_ = layouts_[file];
    position_ = 0;
    ends_ = layout_.documents ? layout_.documents() : nullptr;
    next_end_ = ends_ ? ends_->next() : layout_.count;
    for (std::uint64_t skipped = 0; skipped < layout_.offset;) {
      const auto want =
          static_cast<std::size_t>(std::min<std::uint64_t>(kReadBytes, layout_.offset - skipped));
      if (stream.read(std::span(block_).first(want)) != want)
        throw InputError(stream.name() + ": ends within its header");
      skipped += want;
    }
  }

  bool next_block(std::vector<TokenId>& ids) override {
    const std::size_t bytes = stream_->read(block_);
    const std::size_t n = bytes / layout_.item_bytes;
    if (bytes % layout_.item_bytes != 0)  // a regular file's size was checked before
      throw InputError(fmt::format("{}: ends within an id of {} bytes, at byte {}", stream_->name(),
                                   layout_.item_bytes, stream_->offset()));
    if (layout_.count != 0 && (position_ + n > layout_.count || (bytes == 0 && position_ < layout_.count)))
      throw InputError(fmt::format("{}: the header announces {} tokens, but there are {}{}", stream_->name(),
                                   layout_.count, bytes == 0 ? "only " : "at least ", position_ + n));
    if (bytes == 0) return false;
    const std::size_t first = ids.size();
    if (ends_) {
      for (std::size_t k = 0; k < n;) {  // in pieces that end where a document does
        while (position_ + k == next_end_ && next_end_ < layout_.count) {
          ids.push_back(kDocumentBreak);
          next_end_ = ends_->next();
        }
        const std::size_t piece = std::min<std::uint64_t>(n - k, next_end_ - (position_ + k));
        append(k, piece == 0 ? n - k : piece, ids);  // 0: the list of ends is at its end
        k += piece == 0 ? n - k : piece;
      }
    } else {
      append(0, n, ids);
    }
    if (separator_ != kDocumentBreak)
      std::replace(ids.begin() + static_cast<std::ptrdiff_t>(first), ids.end(), separator_, kDocumentBreak);
    position_ += n;
    return true;
  }

  /// n ids of the block, from `begin` on.
  void append(std::size_t begin, std::size_t n, std::vector<TokenId>& ids) const {
    const std::size_t bad = with_item_type(layout_, [&](auto type) {
      return widen<decltype(type)>(block_.data() + begin * layout_.item_bytes, n, vocab_, ids);
    });
    if (bad != n) refuse_id(begin + bad);
  }

  /// Whether all of the `parts` equal parts of an item are ids.
  bool parts_fit(const char* item, std::size_t parts) const {
    const std::size_t bytes = layout_.item_bytes / parts;
    for (std::size_t k = 0; k < parts; ++k) {
      const char* part = item + k * bytes;
      const std::uint64_t id =
          bytes == 2 ? load_number<std::uint16_t>(part) : load_number<std::uint32_t>(part);
      if (id >= vocab_) return false;
    }
    return true;
  }

  [[noreturn]] void refuse_id(std::size_t index) const {
    const char* item = block_.data() + index * layout_.item_bytes;
    std::string hint = "give the tokenizer's vocabulary size with --vocab-size";
    if ((format_.name == "u32" || format_.name == "u64") && parts_fit(item, 2))
      hint = format_.name == "u32" ? "its halves are, so the file may be u16: give --format u16"
                                   : "its halves are, so the file may be u32: give --format u32";
    else if (format_.name == "u64" && parts_fit(item, 4))
      hint = "its quarters are, so the file may be u16: give --format u16";
    const std::string text = with_item_type(layout_, [&](auto type) {
      const auto id = load_number<decltype(type)>(item);
      if constexpr (sizeof id == 8)
        return std::to_string(static_cast<std::int64_t>(id));  // they are np.int64
      return std::to_string(id);
    });
    throw InputError(fmt::format(
        "{}: token {} (at byte {}) is {}, outside the vocabulary of {}; {}", stream_->name(),
        position_ + index, layout_.offset + (position_ + index) * layout_.item_bytes, text, vocab_, hint));
  }

  std::vector<TokenLayout> layouts_;
  const TokenFormat& format_;
  std::uint64_t vocab_;
  TokenId separator_;
  std::vector<char> block_;
  InputStream* stream_ = nullptr;
  TokenLayout layout_;
  std::uint64_t position_ = 0;          // ids of this file read so far
  std::unique_ptr<DocumentEnds> ends_;  // of this file's documents; null: it has no list of them
  std::uint64_t next_end_ = 0;          // the document being read ends before this id
};

class TokenFileCorpus final : public Corpus {
 public:
  TokenFileCorpus(InputFiles files, std::vector<TokenLayout> layouts, const TokenFormat& format,
                  const CorpusSpec& spec)
      : files_(std::move(files)), layouts_(std::move(layouts)), format_(format), spec_(spec) {}

  std::int64_t vocab_size() const override { return spec_.vocab_size; }
  std::unique_ptr<TokenSource> open() override {
    return std::make_unique<TokenFilePass>(files_, layouts_, format_, spec_);
  }
  bool repeatable() const override { return rewindable(files_); }
  std::uint64_t expected_tokens() const override {
    std::uint64_t total = 0;
    for (const TokenLayout& layout : layouts_) {
      if (layout.count == 0) return 0;  // a raw pipe
      total += layout.count;
    }
    return total;
  }
  std::string format_name() const override {
    const int version = layouts_.front().version;
    return version > 0 ? fmt::format("{} v{}", format_.name, version) : std::string(format_.name);
  }

 private:
  InputFiles files_;
  std::vector<TokenLayout> layouts_;
  const TokenFormat& format_;
  CorpusSpec spec_;
};

}  // namespace

std::unique_ptr<Corpus> open_token_files(InputFiles files, const CorpusSpec& spec,
                                         const TokenFormat& format) {
  if (spec.vocab_size <= 0)
    throw UsageError("files of token ids need --vocab-size, the vocabulary size of their tokenizer");
  if (spec.doc_sep_id && (*spec.doc_sep_id < 0 || *spec.doc_sep_id >= spec.vocab_size))
    throw UsageError(
        fmt::format("--doc-sep-id {} is outside the vocabulary of {}", *spec.doc_sep_id, spec.vocab_size));
  if (!spec.doc_sep.empty())
    throw UsageError(
        "--doc-sep is for text; in files of token ids --doc-sep-id names the id between documents");
  if (!spec.vocabulary.empty())
    throw UsageError("--vocabulary is for text; files of token ids need --vocab-size only");
  std::vector<TokenLayout> layouts;
  for (const auto& file : files) {
    layouts.push_back(format.layout(*file));
    if (layouts.back().version != layouts.front().version)
      throw InputError(fmt::format("{}: is {} version {}, but {} is version {}: one corpus has one tokenizer",
                                   file->name(), format.name, layouts.back().version, files.front()->name(),
                                   layouts.front().version));
  }
  return std::make_unique<TokenFileCorpus>(std::move(files), std::move(layouts), format, spec);
}

}  // namespace aloft
