#pragma once
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "host/sentencepiece_charsmap.hpp"
#include "host/sentencepiece_file.hpp"

namespace aloft {

/// How a model normalises text, before it looks for pieces: by its rules, the longest first, except within
/// user-defined symbols; then white space is escaped ("▁"), and begins (or ends) the text with a dummy.
/// Source: normalizer.cc of SentencePiece 0.1.97 (Normalizer::Normalize). The library normalises whole texts
/// only; here a document passes through in any blocks, and comes out as if whole.
class SentencePieceNormalizer {
 public:
  SentencePieceNormalizer(const SentencePieceFile& file, const std::string& name);

  /// How far a document is.
  struct Document {
    std::string unread;         // the end of the last block, too short to choose a rule for
    bool begun = false;         // something other than white space to drop has come
    bool after_space = false;   // white space here is extra
    std::size_t held_back = 0;  // white space signs, dropped where the document ends with them
  };
  /// Appends what `text` gives to `out`; with `last`, also what the document's end gives.
  void feed(Document& document, std::string_view text, bool last, std::string& out) const;

 private:
  void take(Document& document, std::string_view replacement, std::string& out) const;
  void put_space(Document& document, std::string& out) const;
  void put_signs(Document& document, std::string& out) const;
  [[nodiscard]] std::size_t plain_run(std::string_view text) const;
  [[nodiscard]] SentencePieceCharsmap::Match first_of(std::string_view text) const;

  SentencePieceCharsmap rules_;
  std::array<std::vector<std::string>, 256> user_defined_;  // [first byte], long ones first
  std::array<bool, 256> plain_{};  // [byte] of ASCII that stays as it is before another one
  std::size_t look_ahead_ = 4;     // bytes that decide which rule applies
  std::string space_;              // "▁", or " " where it is not escaped
  bool dummy_prefix_, dummy_suffix_, remove_extra_;
};

}  // namespace aloft
