#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "host/token.hpp"

namespace aloft {

/// Ids are below 2^31, so that none is kDocumentBreak and 32-bit signed indices can hold them.
inline constexpr std::int64_t kMaxVocab = std::int64_t{1} << 31;

/// Strings numbered in the order of their first insertion. Open addressing; no allocation per string.
class TokenTable {
 public:
  static constexpr std::uint32_t kNone = 0xFFFF'FFFFu;

  TokenTable();
  [[nodiscard]] std::uint32_t find(std::string_view token) const;  ///< its number, or kNone
  std::uint32_t insert(std::string_view token);                    ///< its number, new or not
  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(entries_.size()); }
  [[nodiscard]] std::string_view operator[](std::uint32_t number) const;

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t number = kNone;
  };
  struct Entry {
    std::uint64_t begin = 0;
    std::uint32_t length = 0;
    std::uint32_t hash = 0;
  };
  [[nodiscard]] std::size_t slot_of(std::string_view token, std::uint32_t hash) const;
  std::uint32_t append(std::string_view token, std::uint32_t hash);
  void grow();

  std::array<std::uint32_t, 256> single_;  // one-byte tokens, the most frequent ones, need no hashing
  std::vector<Slot> slots_;                // a power of two, at most half full
  std::vector<Entry> entries_;
  std::string bytes_;
};

/// The `words` tokenizer's vocabulary: id 0 is "<unk>", then tokens by falling frequency.
class Vocabulary {
 public:
  static constexpr std::string_view kUnknown = "<unk>";

  /// The `size` − 1 most frequent of `types` (counts[number]), ties by first occurrence. If there are fewer
  /// types, ids from tokens() on never occur; size() stays as asked.
  Vocabulary(const TokenTable& types, const std::vector<std::uint64_t>& counts, std::int64_t size);
  /// Reads vocab.json. Throws InputError naming `name` and the defect.
  Vocabulary(const std::string& json, const std::string& name);

  [[nodiscard]] TokenId id(std::string_view token) const {  ///< 0 if unknown
    const std::uint32_t number = table_.find(token);
    return number == TokenTable::kNone ? 0 : number;
  }
  [[nodiscard]] std::int64_t size() const { return size_; }
  [[nodiscard]] std::int64_t tokens() const { return table_.size(); }  ///< at most size()
  [[nodiscard]] std::string_view token(TokenId id) const { return table_[id]; }
  /// {"tokenizer": "words", "version": 1, "lowercase": true, "tokens": [...]} with tokens[id]; "size" follows
  /// where there are fewer tokens than that.
  [[nodiscard]] std::string json() const;

 private:
  TokenTable table_;
  std::int64_t size_ = 0;
};

}  // namespace aloft
