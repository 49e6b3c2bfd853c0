#include "host/text_reader.hpp"

#include <fmt/format.h>

#include <cstring>
#include <span>
#include <utility>

#include "host/error.hpp"
#include "host/text_encoding.hpp"
#include "host/utf8.hpp"

namespace aloft {
namespace {

constexpr std::size_t kMaxCarry = 3;  // an unfinished character has at most three bytes
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

/// Of the longest prefix that is whole valid characters, none of them NUL.
std::size_t sound_prefix(std::string_view text) { return valid_utf8_prefix(text.substr(0, text.find('\0'))); }

std::string how_to_convert(const std::string& encoding) {
  return "convert it first: iconv -f " + encoding + " -t UTF-8 FILE > NEW";
}

}  // namespace

void refuse_utf16(InputFile& file) { refuse_utf16(file.name(), file.head()); }

void refuse_utf16(const std::string& name, std::string_view head) {
  const std::string encoding = wide_encoding(head);
  if (encoding.empty()) return;
  const std::size_t nul = head.find('\0');
  throw InputError(fmt::format("{}: is {} text{}; {}", name, encoding,
                               nul == std::string::npos ? "" : fmt::format(" (byte {} is NUL)", nul),
                               how_to_convert(encoding)));
}

TextReader::TextReader(InputStream& stream, InvalidUtf8 policy, std::size_t block_bytes,
                       std::string separator)
    : documents_(stream, std::move(separator)),
      policy_(policy),
      block_bytes_(block_bytes),
      buffer_(kMaxCarry + block_bytes) {
  expects(block_bytes > 0, "a block holds at least one byte");
}

bool TextReader::next_document() {
  filled_ = carried_ = 0;
  return documents_.next_document();
}

std::string_view TextReader::next() {
  for (;;) {
    // keep the unfinished character of the block before
    if (filled_ != 0) std::memmove(buffer_.data(), buffer_.data() + filled_ - carried_, carried_);
    base_ = documents_.offset() - carried_;
    const std::size_t n = documents_.read(std::span(buffer_).subspan(carried_, block_bytes_));
    filled_ = carried_ + n;
    carried_ = 0;
    if (filled_ == 0) return {};
    const bool first = base_ == 0;
    std::string_view text = clean(n == 0);
    if (first && text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
    if (!text.empty()) return text;
    if (n == 0) return {};
  }
}

std::string_view TextReader::clean(bool at_end) {
  const std::string_view all(buffer_.data(), filled_);
  const char* const end = all.data() + all.size();
  std::size_t at = sound_prefix(all);
  bool replaced = false;
  while (at < all.size()) {
    if (utf8_start(all.data() + at, end).incomplete && !at_end) {
      carried_ = all.size() - at;
      break;
    }
    if (policy_ == InvalidUtf8::refuse) refuse(all, at);
    if (!replaced) replaced_.assign(all.data(), at);
    replaced = true;
    replaced_ += kReplacementCharacter;
    ++at;
    const std::size_t valid = sound_prefix(all.substr(at));
    replaced_.append(all.data() + at, valid);
    at += valid;
  }
  return replaced ? std::string_view(replaced_) : all.substr(0, all.size() - carried_);
}

void TextReader::refuse(std::string_view all, std::size_t at) const {
  const char* const end = all.data() + all.size();
  const std::string where = fmt::format("{}: byte {}", documents_.name(), base_ + at);
  if (all[at] == '\0') {
    const std::string encoding = base_ == 0 ? wide_encoding(all) : "";
    throw InputError(
        where + " is NUL: " +
        (encoding.empty()
             ? "no text has it, so the file is another kind or damaged; to read it as U+FFFD give "
               "--utf8 replace"
             : "the file looks like " + encoding + "; " + how_to_convert(encoding)));
  }
  throw InputError(
      fmt::format("{} (0x{:02x}) is not valid UTF-8{}; text in another encoding can be converted (iconv -f "
                  "ENCODING -t UTF-8 "
                  "FILE > NEW); to read bad bytes as U+FFFD give --utf8 replace",
                  where, static_cast<unsigned char>(all[at]),
                  utf8_start(all.data() + at, end).incomplete ? " (the last character is cut off)" : ""));
}

}  // namespace aloft
