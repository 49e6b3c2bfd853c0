#include "kernels/cpu/pair_words.hpp"

#include <gtest/gtest.h>

#include <utility>

#include "host/cpu_device.hpp"

namespace aloft::cpu {
namespace {

TEST(PairWords, BitsOfAVocabulary) {
  EXPECT_EQ(PairWords(1).column_bits(), 0);
  EXPECT_EQ(PairWords(2).column_bits(), 1);
  EXPECT_EQ(PairWords(65536).column_bits(), 16);
  EXPECT_EQ(PairWords(65537).column_bits(), 17);
  EXPECT_EQ(PairWords(std::int64_t{1} << 31).most(), 1u);
}

// Counts on both sides of what fits, over blocks of every small size: a column and its count part, too.
TEST(PairWords, WhatIsPackedIsUnpacked) {
  const auto device = make_cpu_device();
  for (const std::int64_t vocab : {std::int64_t{1}, std::int64_t{1} << 20, std::int64_t{1} << 31}) {
    const PairWords format(vocab);
    std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs;
    for (const std::uint32_t count : {1u, 2u, format.most() - (format.most() > 1 ? 1 : 0), format.most(), 1u})
      for (const std::uint32_t column : {0u, static_cast<std::uint32_t>(vocab - 1)})
        pairs.emplace_back(column, count);
    if (format.most() < 0xFFFF'FFFFu)
      for (const std::uint32_t count : {format.most() + 1, 0xFFFF'FFFFu, 3u})
        pairs.emplace_back(static_cast<std::uint32_t>(vocab - 1), count);
    for (const std::size_t block : {1, 2, 3, 5, 64}) {
      WordLog log(*device, block);
      const std::uint32_t before[] = {7, 7, 7};
      log.append(before, 3);
      for (const auto& [column, count] : pairs) {
        const bool fits = count <= format.most();
        const std::uint32_t words[] = {fits ? format.word(column, count) : column, count};
        log.append(words, fits ? 1 : 2);
      }
      const std::uint64_t end = log.size();
      log.append(before, 3);
      std::vector<std::uint32_t> columns(pairs.size());
      std::vector<std::uint64_t> counts(pairs.size());
      log.unpack(format, 3, end, columns.data(), counts.data());
      for (std::size_t k = 0; k < pairs.size(); ++k) {
        EXPECT_EQ(columns[k], pairs[k].first) << vocab << ", pair " << k << ", blocks of " << block;
        EXPECT_EQ(counts[k], pairs[k].second) << vocab << ", pair " << k << ", blocks of " << block;
      }
    }
  }
}

}  // namespace
}  // namespace aloft::cpu
