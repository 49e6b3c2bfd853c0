#include "pipeline/counts/expected_entries.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "host/token.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/counts/parts.hpp"
#include "tests/stream_source.hpp"

namespace aloft {
namespace {

std::int64_t distinct_pairs(const std::vector<TokenId>& ids, std::size_t lag) {
  std::vector<std::uint64_t> pairs;
  std::size_t since = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    since = ids[i] == kDocumentBreak ? 0 : since + 1;
    if (since > lag) pairs.push_back((std::uint64_t{ids[i - lag]} << 32) | ids[i]);
  }
  std::sort(pairs.begin(), pairs.end());
  return std::unique(pairs.begin(), pairs.end()) - pairs.begin();
}

/// Words of Zipf's frequencies, the rarer ones in topics; documents of `document` tokens.
std::vector<TokenId> topics(std::size_t tokens, std::size_t document) {
  std::mt19937_64 random(7);
  std::vector<TokenId> out;
  TokenId topic = 0;
  for (std::size_t i = 0; i < tokens; ++i) {
    if (document > 0 && i % document == document - 1) {
      out.push_back(kDocumentBreak);
      continue;
    }
    if (i % 300 == 0) topic = static_cast<TokenId>(random() % 400) * 16;
    const double u = static_cast<double>(random() >> 11) * 0x1p-53;
    const auto rank = static_cast<TokenId>(std::pow(8000.0, u)) - 1;
    out.push_back(rank < 64 ? rank : 64 + (rank + topic) % 7900);
  }
  return out;
}

TEST(ExpectedEntries, AreCountedWhereTheCorpusIsSmall) {
  for (const std::size_t document : {std::size_t{0}, std::size_t{40}}) {
    const std::vector<TokenId> ids = topics(60'000, document);
    StreamSource source(ids);
    const ExpectedEntries found = expected_entries(source, 8000, 3, ids.size());
    ASSERT_EQ(found.entries.size(), 3u);
    for (std::size_t lag = 1; lag <= 3; ++lag) {
      const auto truth = static_cast<double>(distinct_pairs(ids, lag));
      EXPECT_GE(static_cast<double>(found.entries[lag - 1]), truth);
      EXPECT_LE(static_cast<double>(found.entries[lag - 1]), 1.04 * truth);
    }
  }
}

TEST(ExpectedEntries, OfALongTextFollowFromItsBeginning) {
  const std::vector<TokenId> ids = topics(4'000'000, 0);
  StreamSource source(ids);
  const ExpectedEntries found = expected_entries(source, 8000, 1, ids.size());
  const auto truth = static_cast<double>(distinct_pairs(ids, 1));
  EXPECT_GE(static_cast<double>(found.entries[0]), truth);
  EXPECT_LE(static_cast<double>(found.entries[0]), 1.25 * truth);
  EXPECT_GT(found.growth, 0.2);
  EXPECT_LT(found.growth, 0.95);
}

TEST(ExpectedEntries, OfRandomIdsAreAsManyAsTokens) {
  std::mt19937_64 random(1);
  std::vector<TokenId> ids(2'200'000);
  for (TokenId& id : ids) id = static_cast<TokenId>(random() % 50'000);
  StreamSource source(ids);
  const ExpectedEntries found = expected_entries(source, 50'000, 1, ids.size());
  EXPECT_GE(found.entries[0], distinct_pairs(ids, 1)) << "Heaps' law says a quarter of it";
}

TEST(ExpectedEntries, NothingOfAnEmptyCorpusAndNeverMoreThanAllCells) {
  const std::vector<TokenId> none, little{0, 1, 0, 1, 2, 2, 1, 0};
  StreamSource empty(none), few(little);
  EXPECT_TRUE(expected_entries(empty, 5, 2, 0).entries.empty());
  EXPECT_LE(expected_entries(few, 3, 2, 1'000'000).entries[0], 9);
}

// Once planned as running text's pairs are without a look at it, 4·N^0.83: a third too few.
TEST(ShuffledEntries, AreWhatIndependentTokensShow) {
  const std::vector<TokenId> text = topics(200'000, 0);
  StreamSource source(text);
  const ExpectedEntries found = expected_entries(source, 8000, 1, text.size());
  for (const std::size_t tokens : {text.size(), text.size() / 8}) {
    std::mt19937_64 random(3);
    std::vector<TokenId> shuffled;
    for (std::size_t i = 0; i < tokens; ++i) shuffled.push_back(text[random() % text.size()]);
    const auto truth = static_cast<double>(distinct_pairs(shuffled, 1));
    EXPECT_NEAR(shuffled_entries(found.frequencies, tokens), truth, 0.015 * truth);
    CountParams counting;
    counting.max_lag = 2;
    counting.frequencies = found.frequencies;
    const CountParams p = params_of_shuffled(counting, tokens);
    ASSERT_EQ(p.expected_entries.size(), 2u);
    EXPECT_GE(static_cast<double>(p.expected_entries[1]), truth);
    EXPECT_LE(static_cast<double>(p.expected_entries[1]), 1.04 * truth);
  }
}

TEST(ShuffledEntries, OfALongTextKnowThatIdsAreUnseen) {
  const std::vector<std::uint64_t> seen{50, 3, 1, 1, 0, 0, 0, 0};
  double share = 0, types = 0;
  for (const FrequencyClass& c : frequency_classes(seen, false)) share += c.share * c.types, types += c.types;
  EXPECT_NEAR(share, 1, 1e-12);
  EXPECT_EQ(types, 8);
  EXPECT_NEAR(shuffled_entries(frequency_classes(seen, true), 1'000'000'000), 16, 1e-6)
      << "all pairs of four";
  EXPECT_NEAR(shuffled_entries(frequency_classes(seen, false), 1'000'000'000), 64, 1e-6);
}

TEST(PartsOfCounts, AreNeverFewerThanTheResult) {
  PartsShape shape{.result = 1'000'000, .largest = 400'000, .offsets = 1000, .counting = 5000, .lags = 4};
  shape.chunks = 1;
  shape.largest = 2'000'000;
  EXPECT_EQ(most_bytes_of_parts(shape), 1'006'000u);
  for (const double growth : {0.0, 0.5, 0.8, 1.0})
    for (const double chunks : {2.0, 3.0, 7.0, 15.0, 100.0}) {
      shape.growth = growth;
      shape.chunks = chunks;
      EXPECT_GE(most_bytes_of_parts(shape), 1'000'000u) << growth << " " << chunks;
      EXPECT_LE(most_bytes_of_parts(shape), 9'000'000u) << growth << " " << chunks;
    }
  shape.growth = 0;  // every part has every pair: with 7 chunks 3 of them wait while the last is counted
  shape.chunks = 7;
  EXPECT_GE(most_bytes_of_parts(shape), 3'000'000u);
}

}  // namespace
}  // namespace aloft
