#include "host/sentencepiece_normalizer.hpp"

#include <algorithm>

#include "host/utf8.hpp"

namespace aloft {
namespace {

constexpr unsigned char kAscii = 128;
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

}  // namespace

SentencePieceNormalizer::SentencePieceNormalizer(const SentencePieceFile& file, const std::string& name)
    : rules_(file.charsmap, name),
      space_(file.escape_whitespaces ? "▁" : " "),
      dummy_prefix_(file.dummy_prefix && !file.whitespace_suffix),
      dummy_suffix_(file.dummy_prefix && file.whitespace_suffix),
      remove_extra_(file.remove_extra_whitespaces) {
  look_ahead_ = std::max(look_ahead_, rules_.longest_key());
  for (const auto& piece : file.pieces) {
    if (piece.type != SentencePieceFile::Type::user_defined) continue;
    user_defined_[static_cast<unsigned char>(piece.text.front())].push_back(piece.text);
    look_ahead_ = std::max(look_ahead_, piece.text.size());
  }
  for (auto& symbols : user_defined_)
    std::sort(symbols.begin(), symbols.end(),
              [](const auto& a, const auto& b) { return a.size() > b.size(); });
  for (unsigned char c = 0; c < kAscii; ++c)
    plain_[c] = c != ' ' && user_defined_[c].empty() && rules_.needs_more_than_ascii(c);
}

/// The beginning of `text`, which is not empty, that is normalised next, and what for.
SentencePieceCharsmap::Match SentencePieceNormalizer::first_of(std::string_view text) const {
  for (const std::string& symbol : user_defined_[static_cast<unsigned char>(text.front())])
    if (text.starts_with(symbol)) return {symbol.size(), symbol};
  if (const auto rule = rules_.longest(text); rule.length != 0) return rule;
  const int length = utf8_start(text.data(), text.data() + text.size()).length;
  if (length == 0) return {1, kReplacement};  // a rule has ended within a character
  return {static_cast<std::size_t>(length), text.substr(0, static_cast<std::size_t>(length))};
}

void SentencePieceNormalizer::feed(Document& document, std::string_view text, bool last,
                                   std::string& out) const {
  if (!document.unread.empty()) {
    document.unread += text;
    text = document.unread;
  }
  while (last ? !text.empty() : text.size() >= look_ahead_) {
    const std::size_t plain = document.begun ? plain_run(text) : 0;
    if (plain != 0) {
      put_signs(document, out);
      out += text.substr(0, plain);
      document.after_space = false;
      text.remove_prefix(plain);
      continue;
    }
    const SentencePieceCharsmap::Match match = first_of(text);
    take(document, match.replacement, out);
    text.remove_prefix(match.length);
  }
  document.unread = std::string(text);
  if (last && document.begun && dummy_suffix_) out += space_;
}

/// How many bytes of `text`, which is not empty, stay as they are.
std::size_t SentencePieceNormalizer::plain_run(std::string_view text) const {
  std::size_t n = 0;
  while (n + 1 < text.size() && plain_[static_cast<unsigned char>(text[n])] &&
         static_cast<unsigned char>(text[n + 1]) < kAscii)
    ++n;
  return n;
}

void SentencePieceNormalizer::put_signs(Document& document, std::string& out) const {
  for (; document.held_back > 0; --document.held_back) out += space_;
}

void SentencePieceNormalizer::put_space(Document& document, std::string& out) const {
  if (remove_extra_)
    ++document.held_back;
  else
    out += space_;
}

void SentencePieceNormalizer::take(Document& document, std::string_view replacement, std::string& out) const {
  if (!document.begun) {
    if (remove_extra_ && replacement == " ") return;
    document.begun = true;
    document.after_space = remove_extra_;
    if (dummy_prefix_) put_space(document, out);
  }
  while (document.after_space && replacement.starts_with(' ')) replacement.remove_prefix(1);
  if (replacement.empty()) return;
  document.after_space = remove_extra_ && replacement.ends_with(' ');
  while (!replacement.empty()) {
    const bool sign = replacement.starts_with(space_);
    if (sign || replacement.front() == ' ') {
      put_space(document, out);
      replacement.remove_prefix(sign ? space_.size() : 1);
      continue;
    }
    put_signs(document, out);
    const std::size_t next = std::min(replacement.find(' '), replacement.find(space_));
    out += replacement.substr(0, next);
    replacement.remove_prefix(std::min(next, replacement.size()));
  }
}

}  // namespace aloft
