#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace aloft {

/// The rules of a SentencePiece normaliser ("precompiled_charsmap"): what to put for which characters (NFKC,
/// white space to " ", lower case). Stored as the size of a double-array trie, the trie (units of 32 bits, as
/// the library darts-clone lays them out) and the replacements, each ended by a NUL; the trie's values are
/// offsets of these.
class SentencePieceCharsmap {
 public:
  /// `blob` empty: no rule. Throws InputError with `name` for rules that would be followed out of bounds.
  SentencePieceCharsmap(std::string_view blob, const std::string& name);

  struct Match {
    std::size_t length = 0;  ///< of text; 0: no rule begins here
    std::string_view replacement;
  };
  /// The rule for the longest beginning of `text`.
  [[nodiscard]] Match longest(std::string_view text) const;
  [[nodiscard]] std::size_t longest_key() const { return longest_key_; }  ///< in bytes
  /// No rule is for the ASCII character `c`, alone or with ASCII behind it.
  [[nodiscard]] bool needs_more_than_ascii(unsigned char c) const;

 private:
  [[nodiscard]] bool check();

  std::vector<std::uint32_t> units_;
  std::string replacements_;
  std::size_t longest_key_ = 0;
};

}  // namespace aloft
