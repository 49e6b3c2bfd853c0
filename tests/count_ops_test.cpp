#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "host/error.hpp"
#include "tests/count_helpers.hpp"

namespace aloft {
namespace {

TEST_P(CountOpsConformance, CountsOrderedPairsOfATinyCorpus) {
  const std::vector<TokenId> t{0, 1, 1};
  const std::vector<Table> want{{{{0, 1}, 1}, {{1, 1}, 1}}, {{{0, 1}, 1}}};
  EXPECT_EQ(dense(t, 3, 2, 2), want);
  expect_all(t, 3, 2, 2);
}

TEST_P(CountOpsConformance, NoPairCrossesADocumentBreak) {
  const TokenId b = kDocumentBreak;
  expect_all({0, 1, b, 1, 0, 0, b, b, 1, b}, 10, 8, 2);
  expect_all({b, 0, b, 1, b, 0, b}, 7, 3, 2);  // one-token documents: no pairs at all
  EXPECT_TRUE(dense({b, 0, b, 1, b, 0, b}, 7, 3, 2)[0].empty());
}

TEST_P(CountOpsConformance, MatchesTheOracleAcrossSizesAndBreaks) {
  for (const int n : {1, 2, 8, 31, 32, 33, 255, 257, 5000})
    for (const double breaks : {0.0, 0.05, 0.5})
      expect_all(random_tokens(n + 8, 17, breaks, unsigned(n)), n, 8, 17);
}

TEST_P(CountOpsConformance, AdversarialInputs) {
  expect_all(std::vector<TokenId>(1000, 0), 1000, 8, 1);  // V = 1, all equal
  expect_all(std::vector<TokenId>(3000, 6), 3000, 8, 7);  // all equal
  expect_all({0, 1}, 2, 8, 2);                            // fewer tokens than lags
  expect_all({}, 0, 8, 2);                                // nothing
  expect_all({3, 2, 1, 0}, 1, 3, 4);                      // nearly all halo
  const auto t = random_tokens(20000, 3000, 0.01, 3);     // short rows and long ones
  EXPECT_EQ(sparse(t, 20000, 8, 3000), count_oracle(t, 20000, 8));
}

TEST_P(CountOpsConformance, LargestVocabulariesOfTheSparsePath) {
  for (const std::int64_t vocab : {65536, 131072}) {
    auto t = random_tokens(30000, TokenId(vocab), 0.001, 9);
    t[7] = TokenId(vocab - 1);
    t[8] = TokenId(vocab - 1);
    EXPECT_EQ(sparse(t, 29992, 8, vocab), count_oracle(t, 29992, 8));
  }
}

// The CPU sorts short rows, many together, and counts long ones in tables.
TEST_P(CountOpsConformance, RowsOfEveryLength) {
  if (GetParam() != "cpu") GTEST_SKIP() << "how the CPU backend goes about it";
  for (const std::int64_t vocab : {2, 5, 300, 3000, 70000}) {
    auto t = random_tokens(20000, TokenId(vocab), 0.002, unsigned(vocab));
    std::fill(t.begin() + 3000, t.begin() + 8000, TokenId(vocab - 1));  // the last row is long, too
    for (const int lags : {3, 8})
      EXPECT_EQ(sparse(t, 20000 - 5, lags, vocab), count_oracle(t, 20000 - 5, lags)) << vocab << ", " << lags;
  }
  expect_all(std::vector<TokenId>(700, kDocumentBreak), 690, 3, 4);
}

// More often than the bits beside a column hold: in a table, and in a sorted row.
TEST_P(CountOpsConformance, PairsThatAreVeryFrequent) {
  for (const auto& [vocab, n] : {std::pair<std::int64_t, std::int64_t>{131072, 80000}, {1 << 21, 9000}}) {
    std::vector<TokenId> t(std::size_t(n), TokenId(vocab - 1));
    for (std::size_t k = 0; k < t.size(); k += 1000) t[k] = TokenId(k / 1000);
    EXPECT_EQ(sparse(t, n, 2, vocab), count_oracle(t, n, 2)) << vocab;
  }
}

TEST_P(CountOpsConformance, SparseTakesNoMoreMemoryThanItSays) {
  if (GetParam() != "cpu") GTEST_SKIP() << "tests/simt/count_memory_test.cpp";
  const int before = omp_get_max_threads();
  for (const int threads : {1, 3, 16})
    for (const std::int64_t vocab : {1, 50, 5000, 200'000})
      for (const std::int64_t n : {3, 900, 40000})
        for (const int lags : {1, 8}) {
          omp_set_num_threads(threads);
          Device& device = *backend.device;
          const auto ids = to_device<const TokenId>(device, random_tokens(n, TokenId(vocab), 0.01, 2));
          device.reset_peak();
          const std::uint64_t held = device.peak_bytes(),
                              bound = backend.count->sparse_workspace_bytes(n, vocab, lags);
          (void)backend.count->count_pairs_sparse({ids.data(), n, 0}, vocab, lags);
          const std::uint64_t took = device.peak_bytes() - held;
          EXPECT_LE(took, bound) << threads << " threads, " << vocab << " ids, " << n << " tokens";
        }
  omp_set_num_threads(before);
}

// An allocation that fails in a thread of its own is an error like any other.
TEST_P(CountOpsConformance, SparseSaysWhenMemoryRunsOut) {
  if (GetParam() != "cpu") GTEST_SKIP() << "the CPU backend's threads";
  const auto t = random_tokens(20000, 9000, 0.01, 6);
  const TokenChunk chunk = on_device(t, 20000);
  Device& device = *backend.device;
  device.reset_peak();
  const std::uint64_t held = device.peak_bytes();
  (void)backend.count->count_pairs_sparse(chunk, 9000, 8);
  const std::uint64_t took = device.peak_bytes() - held;
  for (std::uint64_t part = 1; part < 16; ++part) {
    device.limit_memory(held + took * part / 16);
    EXPECT_THROW((void)backend.count->count_pairs_sparse(chunk, 9000, 8), ResourceError) << part;
  }
  device.limit_memory(0);
  EXPECT_EQ(sparse(t, 20000, 8, 9000), count_oracle(t, 20000, 8));
}

TEST_P(CountOpsConformance, AStripeOfRowsHoldsJustThoseRows) {
  const auto t = random_tokens(4000, 50, 0.02, 5);
  auto want = count_oracle(t, 3990, 8);
  for (Table& lag : want)
    std::erase_if(lag, [](const auto& entry) { return entry.first.first < 13 || entry.first.first >= 40; });
  EXPECT_EQ(dense(t, 3990, 8, 50, 13, 27), want);
}

TEST_P(CountOpsConformance, ThreadCountDoesNotMatter) {
  if (GetParam() != "cpu") GTEST_SKIP() << "OpenMP threads are the CPU backend's";
  const auto t = random_tokens(50000, 500, 0.01, 11);
  const int before = omp_get_max_threads();
  const auto want = count_oracle(t, 50000, 8);
  for (const int threads : {1, 2, 3, 16}) {
    omp_set_num_threads(threads);
    EXPECT_EQ(dense(t, 50000, 8, 500), want) << threads;
    EXPECT_EQ(sparse(t, 50000, 8, 500), want) << threads;
  }
  omp_set_num_threads(before);
}

TEST_P(CountOpsConformance, TokensAreCountedWithoutBreaks) {
  const auto t = random_tokens(5001, 30, 0.1, 4);
  auto unigram = zeros<std::uint64_t>(*backend.device, 30);
  backend.count->count_tokens(on_device(t, 5001), unigram.data(), 30);
  std::vector<std::uint64_t> want(30);
  for (const TokenId id : t)
    if (id != kDocumentBreak) ++want[id];
  EXPECT_EQ(to_host(unigram), want);
}

INSTANTIATE_TEST_SUITE_P(Each, CountOpsConformance, ::testing::ValuesIn(available_backends()),
                         [](const auto& backend_info) { return backend_info.param; });

// A GPU run that silently tested only the CPU must fail.
TEST(Backends, HasEveryBackendThisRunWasToldToExpect) {
  if (const char* want = std::getenv("ALOFT_EXPECT_BACKEND")) {
    EXPECT_NO_THROW((void)make_backend(want));
  }
  EXPECT_FALSE(available_backends().empty());
}

}  // namespace
}  // namespace aloft
