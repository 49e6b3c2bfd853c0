#include "host/sentencepiece_charsmap.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "host/error.hpp"
#include "host/utf8.hpp"

namespace aloft {
namespace {

static_assert(std::endian::native == std::endian::little, "the trie is little-endian");

// A unit of darts-clone 0.32: a label or, with the highest bit, a value; where its children are; whether a
// key ends here.
constexpr std::uint32_t kValue = std::uint32_t{1} << 31;
std::uint32_t label(std::uint32_t unit) { return unit & (kValue | 0xFF); }
std::uint32_t offset(std::uint32_t unit) { return (unit >> 10) << ((unit & (1U << 9)) >> 6); }
bool ends_a_key(std::uint32_t unit) { return (unit >> 8 & 1) != 0; }

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }  // of UTF-8

constexpr std::size_t kMaxNested = 31;      // keys that begin one another: the library has room for 32
constexpr std::size_t kMaxKeyBytes = 4096;  // far above any; it bounds the recursion below

}  // namespace

SentencePieceCharsmap::SentencePieceCharsmap(std::string_view blob, const std::string& name) {
  if (blob.empty()) return;
  std::uint32_t trie_bytes = 0;
  bool sound = blob.size() > sizeof trie_bytes;
  if (sound) {
    std::memcpy(&trie_bytes, blob.data(), sizeof trie_bytes);
    blob.remove_prefix(sizeof trie_bytes);
    sound = trie_bytes != 0 && trie_bytes % sizeof(std::uint32_t) == 0 && trie_bytes < blob.size() &&
            blob.back() == '\0';
  }
  if (sound) {
    units_.resize(trie_bytes / sizeof(std::uint32_t));
    std::memcpy(units_.data(), blob.data(), trie_bytes);
    replacements_ = blob.substr(trie_bytes);
    sound = check();
  }
  if (!sound)
    throw InputError(
        fmt::format("{}: is no sound SentencePiece model: its rules of normalisation are damaged", name));
}

bool SentencePieceCharsmap::check() {
  enum class Seen : unsigned char { no, open, done };
  struct Below {  // a node, its own end of a key included
    Seen seen = Seen::no;
    std::uint16_t bytes = 0, keys = 0;
  };
  std::vector<Below> nodes(units_.size());
  // The units that a node with its children at `base` leads to, as a list: first[base], next[that], ...
  constexpr std::uint32_t kNone = ~std::uint32_t{0};
  std::vector<std::uint32_t> first(units_.size(), kNone), next(units_.size(), kNone);
  for (std::uint32_t at = 0; at < units_.size(); ++at) {
    const std::uint32_t base = at ^ label(units_[at]);
    if ((units_[at] & kValue) != 0 || base >= units_.size()) continue;
    next[at] = first[base];
    first[base] = at;
  }
  if (valid_utf8_prefix(replacements_) != replacements_.size()) return false;

  const auto visit = [&](const auto& self, std::uint32_t at, std::size_t depth) -> bool {
    Below& node = nodes[at];
    if (node.seen == Seen::done) return true;
    if (node.seen == Seen::open || depth > kMaxKeyBytes) return false;  // a circle
    node.seen = Seen::open;
    const std::uint32_t base = at ^ offset(units_[at]);
    if ((base | 0xFF) >= units_.size()) return false;
    Below below;
    for (std::uint32_t child = first[base]; child != kNone; child = next[child]) {
      if (!self(self, child, depth + 1)) return false;
      below.bytes = std::max<std::uint16_t>(below.bytes, nodes[child].bytes + 1);
      below.keys = std::max(below.keys, nodes[child].keys);
    }
    if (at != 0 && ends_a_key(units_[at])) {
      const std::uint32_t value = units_[base] & ~kValue;
      if (value >= replacements_.size() || is_continuation(replacements_[value])) return false;
      ++below.keys;
    }
    if (below.keys > kMaxNested) return false;
    below.seen = Seen::done;
    node = below;
    return true;
  };
  if (!visit(visit, 0, 0)) return false;
  longest_key_ = nodes[0].bytes;
  return true;
}

bool SentencePieceCharsmap::needs_more_than_ascii(unsigned char c) const {
  if (units_.empty()) return true;
  const std::uint32_t at = offset(units_[0]) ^ c;
  if (label(units_[at]) != c) return true;
  if (ends_a_key(units_[at])) return false;
  const std::uint32_t base = at ^ offset(units_[at]);
  for (std::uint32_t next = 0; next < 128; ++next)
    if (label(units_[base ^ next]) == next) return false;
  return true;
}

SentencePieceCharsmap::Match SentencePieceCharsmap::longest(std::string_view text) const {
  Match out;
  if (units_.empty()) return out;
  std::uint32_t base = offset(units_[0]), value = 0;
  for (std::size_t k = 0; k < text.size(); ++k) {
    const std::uint32_t at = base ^ static_cast<unsigned char>(text[k]);
    const std::uint32_t unit = units_[at];
    if (label(unit) != static_cast<unsigned char>(text[k])) break;
    base = at ^ offset(unit);
    if (!ends_a_key(unit)) continue;
    out.length = k + 1;
    value = units_[base] & ~kValue;
  }
  if (out.length != 0) out.replacement = replacements_.c_str() + value;
  return out;
}

}  // namespace aloft
