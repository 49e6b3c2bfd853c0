#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "host/sentencepiece_file.hpp"

namespace aloft {

/// Where a normalised text may be cut so that its parts have the tokens of the whole: between two characters
/// that no piece of the vocabulary has next to each other. No token can reach over such a place, and so
///   unigram: every segmentation has a boundary there, and the best of the whole is the best of each part;
///   bpe:     a merge makes a piece, so none reaches over it, and none on one side changes one on the other
///            (but pieces of type "unused" are taken apart again by the way they last came about, wherever
///            that was; where one can come about in several ways, nothing is cut);
///   character: a character or user-defined symbol a token;
///   word:    before each "▁", nowhere else.
class SentencePieceCuts {
 public:
  explicit SentencePieceCuts(const SentencePieceFile& file);

  /// The last place in (0, to] of `text` (at least `to` bytes) where it may be cut, 0: there is none.
  [[nodiscard]] std::size_t last(std::string_view text, std::size_t to) const;
  /// The first place in (from, text.size()).
  [[nodiscard]] std::size_t first(std::string_view text, std::size_t from) const;

 private:
  [[nodiscard]] bool allowed(std::string_view text, std::size_t at) const;

  SentencePieceFile::Algorithm algorithm_;
  bool nowhere_ = false;
  std::vector<std::uint64_t> neighbours_;  // pairs of characters in a piece, sorted
};

}  // namespace aloft
