#include "host/unspaced_scripts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "host/utf8.hpp"

namespace aloft {
namespace {

constexpr double kMuch = 0.1;           // of the letters
constexpr std::uint64_t kLongWord = 7;  // characters: what was cut into words has few as long as that

struct Range {
  char32_t first, last;
};
/// Chinese and Japanese: blocks of Han, Hiragana, Katakana (Unicode 15).
constexpr Range kHanAndKana[] = {{0x3040, 0x30FF}, {0x31F0, 0x31FF}, {0x3400, 0x4DBF},  {0x4E00, 0x9FFF},
                                 {0xF900, 0xFAFF}, {0xFF66, 0xFF9F}, {0x20000, 0x323AF}};
/// Thai, Lao, Tibetan, Burmese, Khmer. Vowels are marks there, which end a run of letters: no run is a word,
/// whatever its length.
constexpr Range kWithMarks[] = {{0x0E00, 0x0FFF}, {0x1000, 0x109F}, {0x1780, 0x17FF}};

template <std::size_t N>
bool within(const Range (&ranges)[N], char32_t c) {
  return std::any_of(std::begin(ranges), std::end(ranges),
                     [c](const Range& r) { return r.first <= c && c <= r.last; });
}

struct Letters {
  std::uint64_t all = 0, han_and_kana = 0, with_marks = 0;
};

/// Of a token, which is a run of letters or one other character.
Letters letters_of(std::string_view token) {
  Letters out;
  const char* const end = token.data() + token.size();
  for (const char* p = token.data(); p < end; ++out.all) {
    if (static_cast<unsigned char>(*p) < 0x80) {
      ++p;
      continue;
    }
    const char32_t c = decode_valid_utf8(p);
    out.han_and_kana += within(kHanAndKana, c) ? 1 : 0;
    out.with_marks += within(kWithMarks, c) ? 1 : 0;
  }
  return out;
}

}  // namespace

std::string unspaced_warning(const TokenTable& types, const std::vector<std::uint64_t>& counts) {
  std::uint64_t all = 0, uncut = 0;
  for (std::uint32_t number = 0; number < types.size(); ++number) {
    const Letters letters = letters_of(types[number]);
    all += letters.all * counts[number];
    uncut += letters.with_marks * counts[number];
    if (letters.han_and_kana >= kLongWord) uncut += letters.han_and_kana * counts[number];
  }
  const double share = all == 0 ? 0 : static_cast<double>(uncut) / static_cast<double>(all);
  if (share <= kMuch) return "";
  return fmt::format(
      "warning: {:.0f}% of the text is in a script without blanks between words (as Chinese, Japanese, Thai "
      "are): the words tokenizer takes all between two marks for one word; --tokenizer FILE.model "
      "(SentencePiece) or --tokenizer bytes cuts it",
      100 * share);
}

}  // namespace aloft
