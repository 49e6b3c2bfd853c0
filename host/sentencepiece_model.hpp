#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "host/sentencepiece_cuts.hpp"
#include "host/sentencepiece_normalizer.hpp"
#include "host/token.hpp"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace aloft {

/// A loaded SentencePiece model. Encoding is const and may be used by several passes.
class SentencePieceModel {
 public:
  /// Throws InputError if the file cannot be read or is no sound model.
  explicit SentencePieceModel(const std::string& path);
  ~SentencePieceModel();
  SentencePieceModel(const SentencePieceModel&) = delete;
  SentencePieceModel& operator=(const SentencePieceModel&) = delete;

  [[nodiscard]] std::int64_t size() const;
  [[nodiscard]] const std::string& piece(std::int64_t id) const;
  [[nodiscard]] SentencePieceFile::Algorithm algorithm() const { return algorithm_; }
  [[nodiscard]] const SentencePieceNormalizer& normalizer() const { return normalizer_; }
  [[nodiscard]] const SentencePieceCuts& cuts() const { return cuts_; }

  /// Appends the ids of `normalized`, a document or a part of one between two cuts.
  void encode(std::string_view normalized, std::vector<TokenId>& ids) const;
  [[nodiscard]] TokenId unknown() const { return unknown_; }
  /// Unknown tokens in a row are one token: the library joins those of one text.
  [[nodiscard]] bool joins(TokenId id) const { return joins_unknown_ && id == unknown_; }

 private:
  SentencePieceModel(const std::string& bytes, const std::string& path);
  SentencePieceModel(const SentencePieceFile& file, const std::string& bytes, const std::string& path);

  std::string path_;
  SentencePieceFile::Algorithm algorithm_;
  SentencePieceNormalizer normalizer_;
  SentencePieceCuts cuts_;
  bool joins_unknown_ = false;
  TokenId unknown_ = 0;
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
};

}  // namespace aloft
