#include "host/sentencepiece_cuts.hpp"

#include <algorithm>
#include <string>
#include <unordered_set>

namespace aloft {
namespace {

constexpr std::string_view kSpaceSign = "▁";

/// Bytes of the character that begins with `lead`, as the library reckons them.
std::size_t length_of(char lead) {
  return static_cast<std::size_t>("\1\1\1\1\1\1\1\1\1\1\1\1\2\2\3\4"[static_cast<unsigned char>(lead) >> 4]);
}

bool begins_character(std::string_view text, std::size_t at) {
  return (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
}

/// Two characters next to each other as one number.
std::uint64_t pair_of(std::string_view left, std::string_view right) {
  const auto number = [](std::string_view character) {
    std::uint32_t out = 0;
    for (const char byte : character) out = out << 8 | static_cast<unsigned char>(byte);
    return out;
  };
  return static_cast<std::uint64_t>(number(left)) << 32 | number(right);
}

/// An unused piece can be put together in two ways: which one its parts come from depends on the whole text.
bool has_ambiguous_unused(const SentencePieceFile& file) {
  std::unordered_set<std::string_view> symbols;
  for (const auto& piece : file.pieces)
    if (piece.in_text()) symbols.insert(piece.text);
  const auto can_be = [&](std::string_view part) {
    return part.size() <= length_of(part.front()) || symbols.contains(part);
  };
  for (const auto& piece : file.pieces) {
    if (piece.type != SentencePieceFile::Type::unused) continue;
    const std::string_view text = piece.text;
    int ways = 0;
    for (std::size_t at = 1; at < text.size(); ++at)
      if (begins_character(text, at) && can_be(text.substr(0, at)) && can_be(text.substr(at))) ++ways;
    if (ways > 1) return true;
  }
  return false;
}

}  // namespace

SentencePieceCuts::SentencePieceCuts(const SentencePieceFile& file) : algorithm_(file.algorithm) {
  if (algorithm_ == SentencePieceFile::Algorithm::word) return;
  nowhere_ = algorithm_ == SentencePieceFile::Algorithm::bpe && has_ambiguous_unused(file);
  for (const auto& piece : file.pieces) {
    if (!piece.in_text()) continue;
    std::string_view rest = piece.text;
    std::string_view left;
    while (!rest.empty()) {
      const std::string_view right = rest.substr(0, length_of(rest.front()));
      if (!left.empty()) neighbours_.push_back(pair_of(left, right));
      left = right;
      rest.remove_prefix(right.size());
    }
  }
  std::sort(neighbours_.begin(), neighbours_.end());
  neighbours_.erase(std::unique(neighbours_.begin(), neighbours_.end()), neighbours_.end());
  neighbours_.shrink_to_fit();
}

bool SentencePieceCuts::allowed(std::string_view text, std::size_t at) const {
  if (!begins_character(text, at)) return false;
  if (algorithm_ == SentencePieceFile::Algorithm::word) return text.substr(at).starts_with(kSpaceSign);
  std::size_t before = at - 1;
  while (before > 0 && !begins_character(text, before)) --before;
  return !std::binary_search(neighbours_.begin(), neighbours_.end(),
                             pair_of(text.substr(before, at - before), text.substr(at, length_of(text[at]))));
}

std::size_t SentencePieceCuts::last(std::string_view text, std::size_t to) const {
  if (nowhere_) return 0;
  for (std::size_t at = std::min(to, text.size() - 1); at > 0; --at)
    if (allowed(text, at)) return at;
  return 0;
}

std::size_t SentencePieceCuts::first(std::string_view text, std::size_t from) const {
  if (nowhere_) return 0;
  for (std::size_t at = from + 1; at < text.size(); ++at)
    if (allowed(text, at)) return at;
  return 0;
}

}  // namespace aloft
