#include "host/token_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "host/error.hpp"
#include "host/file_pass.hpp"
#include "host/npy.hpp"
#include "host/vocabulary.hpp"

namespace aloft {
namespace {

constexpr std::size_t kReadBytes = std::size_t{1} << 20;
constexpr std::size_t kLlmcHeaderBytes = std::size_t{256} * 4;
constexpr std::uint32_t kLlmcMagic16 = 20240520, kLlmcMagic32 = 20240801, kLlmcMagicEvaluation = 20240522;

/// How one file's ids lie in it.
struct Layout {
  char kind = 'u';  // 'u' or 'i'
  std::size_t item_bytes = 2;
  std::uint64_t offset = 0;  // bytes before the first id
  std::uint64_t count = 0;   // ids; 0 in a raw pipe: to its end
  int version = 0;           // llm.c
};

template <class T>
T load(const char* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

/// Appends n ids from `data`; returns the index of the first one outside [0, vocab), or n.
template <class T>
std::size_t widen(const char* data, std::size_t n, std::uint64_t vocab, std::vector<TokenId>& ids) {
  const std::size_t first = ids.size();
  ids.resize(first + n);
  const auto at = [data](std::size_t k) {  // negative ids become huge ones
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(load<T>(data + k * sizeof(T))));
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
auto with_item_type(const Layout& layout, F f) {
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
  TokenFilePass(InputFiles files, std::vector<Layout> layouts, CorpusFormat format, const CorpusSpec& spec)
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
    const std::size_t bad = with_item_type(
        layout_, [&](auto type) { return widen<decltype(type)>(block_.data(), n, vocab_, ids); });
    if (bad != n) refuse_id(bad);
    if (separator_ != kDocumentBreak)
      std::replace(ids.begin() + static_cast<std::ptrdiff_t>(first), ids.end(), separator_, kDocumentBreak);
    position_ += n;
    return true;
  }

  [[noreturn]] void refuse_id(std::size_t index) const {
    const char* item = block_.data() + index * layout_.item_bytes;
    std::string hint = "give the tokenizer's vocabulary size with --vocab-size";
    if (format_ == CorpusFormat::u32) {
      const auto id = load<std::uint32_t>(item);
      if ((id & 0xFFFFu) < vocab_ && (id >> 16) < vocab_)
        hint = "its halves are, so the file may be u16: give --format u16";
    }
    const std::string text =
        with_item_type(layout_, [&](auto type) { return std::to_string(load<decltype(type)>(item)); });
    throw InputError(fmt::format(
        "{}: token {} (at byte {}) is {}, outside the vocabulary of {}; {}", stream_->name(),
        position_ + index, layout_.offset + (position_ + index) * layout_.item_bytes, text, vocab_, hint));
  }

  std::vector<Layout> layouts_;
  CorpusFormat format_;
  std::uint64_t vocab_;
  TokenId separator_;
  std::vector<char> block_;
  InputStream* stream_ = nullptr;
  Layout layout_;
  std::uint64_t position_ = 0;  // ids of this file read so far
};

class TokenFileCorpus final : public Corpus {
 public:
  TokenFileCorpus(InputFiles files, std::vector<Layout> layouts, CorpusFormat format, const CorpusSpec& spec)
      : files_(std::move(files)), layouts_(std::move(layouts)), format_(format), spec_(spec) {}

  std::int64_t vocab_size() const override { return spec_.vocab_size; }
  std::unique_ptr<TokenSource> open() override {
    return std::make_unique<TokenFilePass>(files_, layouts_, format_, spec_);
  }
  bool repeatable() const override { return rewindable(files_); }
  std::uint64_t expected_tokens() const override {
    std::uint64_t total = 0;
    for (const Layout& layout : layouts_) {
      if (layout.count == 0) return 0;  // a raw pipe
      total += layout.count;
    }
    return total;
  }
  std::string format_name() const override {
    if (format_ == CorpusFormat::llmc) return fmt::format("llmc v{}", layouts_.front().version);
    return format_ == CorpusFormat::npy ? "npy" : format_ == CorpusFormat::u16 ? "u16" : "u32";
  }

 private:
  InputFiles files_;
  std::vector<Layout> layouts_;
  CorpusFormat format_;
  CorpusSpec spec_;
};

Layout raw_layout(InputFile& file, std::size_t item_bytes) {
  const std::string head = file.head();
  if (has_llmc_magic(head))
    throw InputError(file.name() + ": begins with an llm.c header; give --format llmc");
  if (has_npy_magic(head)) throw InputError(file.name() + ": is a .npy file; give --format npy");
  if (item_bytes == 2 && looks_like_u32(head))
    throw InputError(file.name() + ": every second u16 is zero, so these are u32 ids; give --format u32");
  if (file.size() % item_bytes != 0)
    throw InputError(fmt::format(
        "{}: has {} bytes, not a multiple of the {} of an id{}", file.name(), file.size(), item_bytes,
        item_bytes == 4 && file.size() % 2 == 0 ? "; is it u16? Then give --format u16"
                                                : ": cut off, or in another format"));
  return {'u', item_bytes, 0, file.size() / item_bytes, 0};
}

Layout llmc_layout(InputFile& file) {
  const std::string head = file.head();
  if (head.size() < kLlmcHeaderBytes)
    throw InputError(fmt::format("{}: has {} bytes, less than an llm.c header of {}", file.name(),
                                 head.size(), kLlmcHeaderBytes));
  const auto magic = load<std::uint32_t>(head.data());
  const auto version = load<std::int32_t>(head.data() + 4), tokens = load<std::int32_t>(head.data() + 8);
  if (magic == kLlmcMagicEvaluation)
    throw InputError(file.name() + ": is an llm.c evaluation file, not a corpus");
  if (magic != kLlmcMagic16 && magic != kLlmcMagic32)
    throw InputError(fmt::format("{}: is no llm.c token file (magic number {}, {} or {} is needed)",
                                 file.name(), magic, kLlmcMagic16, kLlmcMagic32));
  const int wanted = magic == kLlmcMagic16 ? 1 : 7;
  if (version != wanted)
    throw InputError(fmt::format("{}: llm.c version {} of magic number {} is not known, only {}", file.name(),
                                 version, magic, wanted));
  if (tokens <= 0)
    throw InputError(fmt::format("{}: the llm.c header announces {} tokens", file.name(), tokens));
  Layout out{'u', magic == kLlmcMagic16 ? 2u : 4u, kLlmcHeaderBytes, static_cast<std::uint64_t>(tokens),
             version};
  const std::uint64_t needed = out.offset + out.count * out.item_bytes;
  if (file.size() != 0 && file.size() != needed)
    throw InputError(
        fmt::format("{}: the llm.c header announces {} tokens, that is {} bytes, but the file has {}",
                    file.name(), tokens, needed, file.size()));
  return out;
}

Layout npy_layout(InputFile& file) {
  const NpyHeader header = parse_npy_header(file.head(), file.name(), file.size());
  const bool integer = header.kind == 'u' || header.kind == 'i';
  const bool known =
      header.item_bytes == 1 || header.item_bytes == 2 || header.item_bytes == 4 || header.item_bytes == 8;
  if (!integer || !known || header.big_endian)
    throw InputError(
        fmt::format("{}: has dtype \"{}\"; token ids need a little-endian integer type of 1, 2, 4 or 8 bytes",
                    file.name(), header.dtype));
  if (header.shape.size() != 1)
    throw InputError(fmt::format("{}: has shape {}; token ids need one dimension (array.ravel())",
                                 file.name(), header.shape_text()));
  if (header.elements() == 0) throw InputError(file.name() + ": holds no token");
  return {header.kind, static_cast<std::size_t>(header.item_bytes), header.data_offset, header.elements(), 0};
}

}  // namespace

bool has_llmc_magic(std::string_view head) {
  if (head.size() < 8) return false;
  const auto magic = load<std::uint32_t>(head.data());
  return magic == kLlmcMagic16 || magic == kLlmcMagic32 || magic == kLlmcMagicEvaluation;
}

bool looks_like_u32(std::string_view head) {
  constexpr std::size_t kMinPairs = 4, kMinDistinct = 3;  // fewer could be u16 ids that alternate with id 0
  const std::size_t pairs = head.size() / 4;
  if (pairs < kMinPairs || head.size() % 4 != 0) return false;
  std::set<std::uint16_t> distinct;
  for (std::size_t k = 0; k < pairs; ++k) {
    if (load<std::uint16_t>(head.data() + 4 * k + 2) != 0) return false;
    if (distinct.size() < kMinDistinct) distinct.insert(load<std::uint16_t>(head.data() + 4 * k));
  }
  return distinct.size() == kMinDistinct;
}

std::unique_ptr<Corpus> open_token_files(InputFiles files, const CorpusSpec& spec, CorpusFormat format) {
  if (spec.vocab_size <= 0)
    throw UsageError("files of token ids need --vocab-size, the vocabulary size of their tokenizer");
  if (spec.doc_sep_id && (*spec.doc_sep_id < 0 || *spec.doc_sep_id >= spec.vocab_size))
    throw UsageError(
        fmt::format("--doc-sep-id {} is outside the vocabulary of {}", *spec.doc_sep_id, spec.vocab_size));
  if (!spec.vocabulary.empty())
    throw UsageError("--vocabulary is for text; files of token ids need --vocab-size only");
  std::vector<Layout> layouts;
  for (const auto& file : files) {
    layouts.push_back(format == CorpusFormat::npy ? npy_layout(*file)
                      : format == CorpusFormat::llmc
                          ? llmc_layout(*file)
                          : raw_layout(*file, format == CorpusFormat::u16 ? 2 : 4));
    if (layouts.back().version != layouts.front().version)
      throw InputError(
          fmt::format("{}: is llm.c version {}, but {} is version {}: one corpus has one tokenizer",
                      file->name(), layouts.back().version, files.front()->name(), layouts.front().version));
  }
  return std::make_unique<TokenFileCorpus>(std::move(files), std::move(layouts), format, spec);
}

}  // namespace aloft
