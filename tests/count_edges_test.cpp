#include <algorithm>
#include <numeric>

#include "tests/count_helpers.hpp"

// Counting where kernels could go wrong: the edges of warps, blocks and tiles, counters that fill up, every
// strategy's largest and smallest vocabulary, stripes, ids by rank, chunks.

namespace aloft {
namespace {

class CountEdges : public CountOpsConformance {
 protected:
  /// Tables are counted by another kernel when they hold only a stripe of the rows: both ways, and sorted.
  void expect_all_kernels(const std::vector<TokenId>& t, std::int64_t n_from, int max_lag,
                          std::int64_t vocab) {
    const auto want = count_oracle(t, n_from, max_lag);
    EXPECT_EQ(dense(t, n_from, max_lag, vocab), want) << "table, n=" << n_from << " V=" << vocab;
    EXPECT_EQ(dense(t, n_from, max_lag, vocab + 1, 0, vocab), want)
        << "stripe, n=" << n_from << " V=" << vocab;
    EXPECT_EQ(sparse(t, n_from, max_lag, vocab), want) << "sorted, n=" << n_from << " V=" << vocab;
  }
};

TEST_P(CountEdges, SizesAroundWarpsBlocksAndTiles) {
  for (const int edge : {512, 1024, 2048, 16384})
    for (const int n : {edge - 1, edge, edge + 1})
      expect_all_kernels(random_tokens(n + 3, 9, 0.05, unsigned(n)), n, 3, 9);
}

TEST_P(CountEdges, AShortHaloAndNoneAtAll) {
  const auto t = random_tokens(1100, 9, 0.05, 1);
  for (const std::int64_t n : {0, 1, 1024, 1092, 1095, 1099, 1100}) expect_all_kernels(t, n, 8, 9);
}

TEST_P(CountEdges, OneCounterTakesEveryIncrement) {
  // Beyond what 16 bits hold, whatever number of blocks the positions are dealt to.
  expect_all_kernels(std::vector<TokenId>(70000, 0), 70000, 8, 1);
  expect_all_kernels(std::vector<TokenId>(140000, 1), 140000, 1, 2);
}

TEST_P(CountEdges, CountersOfOneWordFillUpTogether) {
  // 256 ids and 64 lags leave a GPU one or two blocks a lag; cells (254, 255) and (255, 254) and their
  // neighbours share words.
  std::vector<TokenId> t(40000);
  for (std::size_t k = 0; k < t.size(); ++k) t[k] = 254 + (k / 2) % 2;
  const auto want = count_oracle(t, 40000, 64);
  auto table = zeros<std::uint32_t>(*backend.device, 64 * 256 * 256);
  const DenseCounts counts{table.data(), 64, 256, 0, 256};
  backend.count->count_pairs_dense(on_device(t, 40000), counts);
  for (const int lag : {1, 2, 63, 64})
    EXPECT_EQ(table_of(backend.count->compact(counts, lag, nullptr)), want[std::size_t(lag - 1)]) << lag;
}

TEST_P(CountEdges, VocabulariesAroundTheSharedTable) {
  for (const TokenId vocab : {1u, 2u, 31u, 255u, 256u, 257u}) {
    auto t = random_tokens(3000, vocab, 0.01, vocab);
    t[5] = t[6] = t[2999] = vocab - 1;
    const auto want = count_oracle(t, 2998, 2);
    EXPECT_EQ(dense(t, 2998, 2, vocab), want) << "V=" << vocab;
    EXPECT_EQ(sparse(t, 2998, 2, vocab), want) << "V=" << vocab;
  }
}

TEST_P(CountEdges, ManyLags) {
  for (const int lags : {33, 255}) expect_all_kernels(random_tokens(1500, 5, 0.002, 8), 1300, lags, 5);
  // Many lags, few counters for each: the hot corner is always in use.
  expect_all_kernels(random_tokens(3000, 40, 0.002, 9), 2990, 64, 40);
}

TEST_P(CountEdges, ALongChunkUsesTheHotCorner) {
  const auto t = random_tokens(70000, 60, 0.01, 12);
  EXPECT_EQ(dense(t, 69992, 8, 61, 0, 60), count_oracle(t, 69992, 8));
}

TEST_P(CountEdges, TheLastRowsOfALargeVocabulary) {
  const std::int64_t vocab = 65536;
  auto t = random_tokens(2000, 7, 0.01, 13);
  for (TokenId& id : t)
    if (id != kDocumentBreak) id = id < 5 ? TokenId(vocab - 1) - id : id;
  auto want = count_oracle(t, 1992, 2);
  for (Table& lag : want)
    std::erase_if(lag, [&](const auto& entry) { return entry.first.first < vocab - 4; });
  EXPECT_EQ(dense(t, 1992, 2, vocab, vocab - 4, 4), want);
  EXPECT_EQ(sparse(t, 1992, 2, vocab), count_oracle(t, 1992, 2));
}

TEST_P(CountEdges, CountersReachTheLargestU32) {
  const auto expect_full = [&](std::int64_t vocab, std::int64_t n_rows) {
    std::vector<std::uint32_t> table(std::size_t(n_rows * vocab));
    table[0] = 0xFFFF'FFFEu;
    table[1] = 0xFFFF'FFFDu;
    auto counters = to_device<std::uint32_t>(*backend.device, table);
    const DenseCounts counts{counters.data(), 1, vocab, 0, n_rows};
    backend.count->count_pairs_dense(on_device({0, 1, 0, 0, 1}, 5), counts);
    const CountCsr once = backend.count->compact(counts, 1, nullptr);
    EXPECT_EQ(table_of(once), (Table{{{0, 0}, 0xFFFF'FFFFu}, {{0, 1}, 0xFFFF'FFFFu}, {{1, 0}, 1}}));
    const CountCsr twice = backend.count->add(once.view(), once.view());
    EXPECT_EQ(table_of(twice), (Table{{{0, 0}, 0x1'FFFF'FFFEu}, {{0, 1}, 0x1'FFFF'FFFEu}, {{1, 0}, 2}}));
    EXPECT_EQ(backend.count->total(twice.view()), 0x3'FFFF'FFFEu);
  };
  expect_full(2, 2);
  expect_full(3, 2);
}

TEST_P(CountEdges, ChunksAddUpToTheWhole) {
  const auto t = random_tokens(3000, 20, 0.02, 14);
  const std::int64_t n = std::int64_t(t.size());
  const auto want = count_oracle(t, n, 8);
  for (const std::int64_t step : {1, 7, 1000}) {
    const std::int64_t end = std::min<std::int64_t>(n, 40 * step);  // few chunks of the shortest
    const auto of_part = end == n ? want : count_oracle({t.begin(), t.begin() + end}, end, 8);
    auto table = zeros<std::uint32_t>(*backend.device, 8 * 20 * 20);
    auto striped = zeros<std::uint32_t>(*backend.device, 8 * 20 * 21);
    const DenseCounts counts{table.data(), 8, 20, 0, 20}, stripe{striped.data(), 8, 21, 0, 20};
    CountCsr lag3 = std::move(backend.count->count_pairs_sparse(on_device({}, 0), 20, 8)[2]);
    for (std::int64_t at = 0; at < end; at += step) {
      const std::int64_t owned = std::min(step, end - at), seen = std::min(owned + 8, end - at);
      const TokenChunk chunk = on_device({t.begin() + at, t.begin() + at + seen}, owned);
      backend.count->count_pairs_dense(chunk, counts);
      backend.count->count_pairs_dense(chunk, stripe);
      lag3 = backend.count->add(lag3.view(), backend.count->count_pairs_sparse(chunk, 20, 8)[2].view());
    }
    for (int lag = 1; lag <= 8; ++lag) {
      EXPECT_EQ(table_of(backend.count->compact(counts, lag, nullptr)), of_part[std::size_t(lag - 1)]);
      EXPECT_EQ(table_of(backend.count->compact(stripe, lag, nullptr)), of_part[std::size_t(lag - 1)]);
    }
    EXPECT_EQ(table_of(lag3), of_part[2]);
  }
}

TEST_P(CountEdges, RemappedIdsCountTheSamePairs) {
  const TokenId vocab = 50;
  const auto t = random_tokens(4000, vocab, 0.02, 6);
  std::vector<TokenId> rank(vocab);
  std::iota(rank.begin(), rank.end(), 0u);
  std::shuffle(rank.begin(), rank.end(), std::mt19937(3));
  const auto ranks = to_device<const TokenId>(*backend.device, rank);
  Buffer<TokenId> remapped(*backend.device, t.size());
  TokenChunk chunk = on_device(t, 3990);
  backend.count->remap(chunk, ranks.data(), remapped.data());
  const auto got = to_host(remapped);
  for (std::size_t k = 0; k < t.size(); ++k)
    ASSERT_EQ(got[k], t[k] == kDocumentBreak ? kDocumentBreak : rank[t[k]]) << k;
  chunk.ids = remapped.data();
  const auto want = count_oracle(t, 3990, 8);
  for (const auto& [begin, rows] : {std::pair{0, 50}, {0, 20}, {20, 30}}) {
    auto table = zeros<std::uint32_t>(*backend.device, std::size_t(8 * rows * std::int64_t(vocab)));
    const DenseCounts counts{table.data(), 8, vocab, begin, rows};
    backend.count->count_pairs_dense(chunk, counts);
    for (int lag = 1; lag <= 8; ++lag) {
      Table of_stripe = want[std::size_t(lag - 1)];
      std::erase_if(of_stripe, [&, b = begin, n = rows](const auto& entry) {
        return std::int64_t(rank[entry.first.first]) < b || std::int64_t(rank[entry.first.first]) >= b + n;
      });
      EXPECT_EQ(table_of(backend.count->compact(counts, lag, ranks.data())), of_stripe) << lag;
    }
  }
}

TEST_P(CountEdges, MoreIdsThanTheUnigramKeepsPrivate) {
  auto t = random_tokens(30000, 20000, 0.01, 15);
  for (TokenId id = 8190; id < 8195; ++id) t[id] = t[id + 5] = id;  // around a power of two
  t[0] = 19999;
  std::vector<std::uint64_t> want(20000, (std::uint64_t{1} << 33) - 1);  // as after many chunks
  auto unigram = to_device<std::uint64_t>(*backend.device, want);
  backend.count->count_tokens(on_device(t, 29000), unigram.data(), 20000);
  for (std::size_t k = 0; k < 29000; ++k)
    if (t[k] != kDocumentBreak) ++want[t[k]];
  EXPECT_EQ(to_host(unigram), want);
}

INSTANTIATE_TEST_SUITE_P(Each, CountEdges, ::testing::ValuesIn(available_backends()),
                         [](const auto& backend_info) { return backend_info.param; });

}  // namespace
}  // namespace aloft
