#include "host/text_reader.hpp"

#include <fmt/format.h>

#include <cstring>
#include <span>

#include "host/error.hpp"
#include "host/utf8.hpp"

namespace aloft {
namespace {

constexpr std::size_t kMaxCarry = 3;  // an unfinished character has at most three bytes
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

}  // namespace

void refuse_utf16(InputFile& file) {
  const std::string head = file.head();
  if (head.starts_with("\xFF\xFE") || head.starts_with("\xFE\xFF"))
    throw InputError(file.name() + ": is UTF-16 or UTF-32 text; convert it first: iconv -f UTF-16 -t UTF-8");
}

TextReader::TextReader(InputStream& stream, InvalidUtf8 policy, std::size_t block_bytes)
    : stream_(stream), policy_(policy), block_bytes_(block_bytes), buffer_(kMaxCarry + block_bytes) {
  expects(block_bytes > 0, "a block holds at least one byte");
}

std::string_view TextReader::next() {
  for (;;) {
    if (filled_ != 0) {  // keep the unfinished character of the block before
      std::memmove(buffer_.data(), buffer_.data() + filled_ - carried_, carried_);
      base_ += filled_ - carried_;
    }
    const std::size_t n = stream_.read(std::span(buffer_).subspan(carried_, block_bytes_));
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
  std::size_t at = valid_utf8_prefix(all);
  bool replaced = false;
  while (at < all.size()) {
    if (utf8_start(all.data() + at, end).incomplete && !at_end) {
      carried_ = all.size() - at;
      break;
    }
    if (policy_ == InvalidUtf8::refuse) {
      throw InputError(
          fmt::format("{}: byte {} (0x{:02x}) is not valid UTF-8{}; to read it as U+FFFD give --utf8 replace",
                      stream_.name(), base_ + at, static_cast<unsigned char>(all[at]),
                      utf8_start(all.data() + at, end).incomplete ? " (the last character is cut off)" : ""));
    }
    if (!replaced) replaced_.assign(all.data(), at);
    replaced = true;
    replaced_ += kReplacement;
    ++at;
    const std::size_t valid = valid_utf8_prefix(all.substr(at));
    replaced_.append(all.data() + at, valid);
    at += valid;
  }
  return replaced ? std::string_view(replaced_) : all.substr(0, all.size() - carried_);
}

}  // namespace aloft
