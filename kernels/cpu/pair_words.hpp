#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "host/device.hpp"

namespace aloft::cpu {

/// A pair's column and how often it occurs, in 32 bits: a third of what a CSR takes. Where the count does not
/// fit its bits, they are zero, and the count is the next word.
class PairWords {
 public:
  /// vocab: 1 to 2^31.
  explicit PairWords(std::int64_t vocab);

  [[nodiscard]] int column_bits() const { return column_bits_; }
  [[nodiscard]] std::uint32_t column_mask() const { return (std::uint32_t{1} << column_bits_) - 1; }
  /// The largest count that fits, at least 1: words are never more than the occurrences they count.
  [[nodiscard]] std::uint32_t most() const { return ~std::uint32_t{0} >> column_bits_; }
  [[nodiscard]] std::uint32_t word(std::uint32_t column, std::uint32_t count) const {
    return count << column_bits_ | column;
  }

 private:
  int column_bits_;
};

/// Words one after the other, in blocks that are allocated as they come.
class WordLog {
 public:
  WordLog(Device& device, std::size_t block_words) : device_(&device), block_(block_words) {}

  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// Throws ResourceError.
  void append(const std::uint32_t* words, std::size_t n);
  /// Unpacks words [begin, end) into columns and counts, as many as there are pairs.
  void unpack(const PairWords& format, std::uint64_t begin, std::uint64_t end, std::uint32_t* columns,
              std::uint64_t* counts) const;
  void clear() { blocks_.clear(); }

 private:
  Device* device_;
  std::size_t block_;
  std::uint64_t size_ = 0;
  std::vector<Buffer<std::uint32_t>> blocks_;  // [block_] each
};

}  // namespace aloft::cpu
