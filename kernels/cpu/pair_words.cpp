#include "kernels/cpu/pair_words.hpp"

#include <algorithm>
#include <bit>

#include "host/error.hpp"

namespace aloft::cpu {

PairWords::PairWords(std::int64_t vocab)
    : column_bits_(std::bit_width(static_cast<std::uint64_t>(vocab - 1))) {
  expects(vocab >= 1 && vocab <= std::int64_t{1} << 31, "a vocabulary outside 1..2^31");
}

void WordLog::append(const std::uint32_t* words, std::size_t n) {
  while (n > 0) {
    const std::size_t at = size_ % block_;
    if (at == 0) blocks_.emplace_back(*device_, block_);
    const std::size_t piece = std::min(n, block_ - at);
    std::copy_n(words, piece, blocks_.back().data() + at);
    size_ += piece;
    words += piece;
    n -= piece;
  }
}

void WordLog::unpack(const PairWords& format, std::uint64_t begin, std::uint64_t end, std::uint32_t* columns,
                     std::uint64_t* counts) const {
  const int bits = format.column_bits();
  const std::uint32_t mask = format.column_mask();
  bool count_follows = false;  // maybe in the next block
  while (begin < end) {
    const std::uint32_t* word = blocks_[begin / block_].data() + begin % block_;
    const std::uint32_t* const last = word + std::min<std::uint64_t>(end - begin, block_ - begin % block_);
    begin += static_cast<std::uint64_t>(last - word);
    for (; word != last; ++word) {
      if (count_follows) [[unlikely]] {
        *counts++ = *word;
        count_follows = false;
        continue;
      }
      *columns++ = *word & mask;
      count_follows = *word >> bits == 0;
      *counts = *word >> bits;
      counts += count_follows ? 0 : 1;
    }
  }
}

}  // namespace aloft::cpu
