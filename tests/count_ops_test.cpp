#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <numeric>
#include <random>

#include "kernels/ops.hpp"

namespace aloft {
namespace {

using Table = std::map<std::pair<TokenId, TokenId>, std::uint64_t>;

// The oracle: obvious, serial, shares no code with any backend.
std::vector<Table> count_oracle(const std::vector<TokenId>& t, std::int64_t n_from, int max_lag) {
  std::vector<Table> out(static_cast<std::size_t>(max_lag));
  for (std::int64_t k = 0; k < n_from; ++k) {
    if (t[k] == kDocumentBreak) continue;
    for (int lag = 1; lag <= max_lag && k + lag < std::int64_t(t.size()) && t[k + lag] != kDocumentBreak;
         ++lag)
      ++out[lag - 1][{t[k], t[k + lag]}];
  }
  return out;
}

Table table_of(const CountCsr& csr) {
  const auto offsets = to_host(csr.row_offsets);
  const auto columns = to_host(csr.columns);
  const auto values = to_host(csr.values);
  Table out;
  for (std::int64_t i = 0; i < csr.rows; ++i)
    for (auto p = offsets[i]; p < offsets[i + 1]; ++p) {
      EXPECT_TRUE(p == offsets[i] || columns[p - 1] < columns[p])
          << "columns of row " << i << " not ascending";
      EXPECT_GT(values[p], 0u);
      out[{TokenId(i), columns[p]}] = values[p];
    }
  EXPECT_EQ(out.size(), columns.size());
  return out;
}

class CountOpsConformance : public ::testing::TestWithParam<std::string> {
 protected:
  TokenChunk on_device(const std::vector<TokenId>& t, std::int64_t n_from) {
    ids_ = to_device<const TokenId>(*backend.device, t);
    return {ids_.data(), n_from, std::int32_t(std::int64_t(t.size()) - n_from)};
  }
  std::vector<Table> dense(const std::vector<TokenId>& t, std::int64_t n_from, int max_lag,
                           std::int64_t vocab, std::int64_t row_begin = 0, std::int64_t n_rows = -1) {
    if (n_rows < 0) n_rows = vocab;
    auto table = zeros<std::uint32_t>(*backend.device, std::size_t(max_lag * n_rows * vocab));
    const DenseCounts counts{table.data(), max_lag, vocab, row_begin, n_rows};
    backend.count->count_pairs_dense(on_device(t, n_from), counts);
    std::vector<Table> out;
    for (int lag = 1; lag <= max_lag; ++lag)
      out.push_back(table_of(backend.count->compact(counts, lag, nullptr)));
    return out;
  }
  std::vector<Table> sparse(const std::vector<TokenId>& t, std::int64_t n_from, int max_lag,
                            std::int64_t vocab) {
    std::vector<Table> out;
    for (const CountCsr& csr : backend.count->count_pairs_sparse(on_device(t, n_from), vocab, max_lag))
      out.push_back(table_of(csr));
    return out;
  }
  void expect_all(const std::vector<TokenId>& t, std::int64_t n_from, int max_lag, std::int64_t vocab) {
    const auto want = count_oracle(t, n_from, max_lag);
    EXPECT_EQ(dense(t, n_from, max_lag, vocab), want) << "dense, n=" << n_from;
    EXPECT_EQ(sparse(t, n_from, max_lag, vocab), want) << "sparse, n=" << n_from;
  }
  Backend backend = make_backend(GetParam());

 private:
  Buffer<TokenId> ids_;
};

std::vector<TokenId> random_tokens(std::int64_t n, TokenId vocab, double breaks, unsigned seed) {
  std::mt19937 rng(seed);
  std::vector<TokenId> t(static_cast<std::size_t>(n));
  for (auto& id : t) {
    const double u = double(rng()) / 4294967296.0;
    id = double(rng()) / 4294967296.0 < breaks ? kDocumentBreak
                                               : TokenId(double(vocab) * u * u * u);  // skewed
  }
  return t;
}

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
  expect_all(std::vector<TokenId>(1000, 0), 1000, 8, 1);            // V = 1, all equal
  expect_all(std::vector<TokenId>(3000, 6), 3000, 8, 7);            // all equal
  expect_all({0, 1}, 2, 8, 2);                                      // fewer tokens than lags
  expect_all({}, 0, 8, 2);                                          // nothing
  expect_all({3, 2, 1, 0}, 1, 3, 4);                                // nearly all halo
  expect_all(random_tokens(20000, 3000, 0.01, 3), 20000, 8, 3000);  // short rows and long ones
}

TEST_P(CountOpsConformance, LargestVocabulariesOfTheSparsePath) {
  for (const std::int64_t vocab : {65536, 131072}) {
    auto t = random_tokens(30000, TokenId(vocab), 0.001, 9);
    t[7] = TokenId(vocab - 1);
    t[8] = TokenId(vocab - 1);
    EXPECT_EQ(sparse(t, 29992, 8, vocab), count_oracle(t, 29992, 8));
  }
}

TEST_P(CountOpsConformance, AStripeOfRowsHoldsJustThoseRows) {
  const auto t = random_tokens(4000, 50, 0.02, 5);
  auto want = count_oracle(t, 3990, 8);
  for (Table& lag : want)
    std::erase_if(lag, [](const auto& entry) { return entry.first.first < 13 || entry.first.first >= 40; });
  EXPECT_EQ(dense(t, 3990, 8, 50, 13, 27), want);
}

TEST_P(CountOpsConformance, RemappedIdsCountTheSamePairs) {
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

TEST_P(CountOpsConformance, ThreadCountDoesNotMatter) {
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

TEST_P(CountOpsConformance, AddMergesRows) {
  const auto a = random_tokens(3000, 40, 0, 1), b = random_tokens(2000, 40, 0, 2);
  const auto csr_of = [&](const std::vector<TokenId>& t) {
    auto table = zeros<std::uint32_t>(*backend.device, 40 * 40);
    const DenseCounts counts{table.data(), 1, 40, 0, 40};
    backend.count->count_pairs_dense(on_device(t, std::int64_t(t.size())), counts);
    return backend.count->compact(counts, 1, nullptr);
  };
  Table want = count_oracle(a, 3000, 1)[0];
  const auto other = count_oracle(b, 2000, 1);
  for (const auto& [pair, n] : other[0]) want[pair] += n;
  const CountCsr x = csr_of(a), y = csr_of(b);
  const CountCsr sum = backend.count->add(x.view(), y.view());
  EXPECT_EQ(table_of(sum), want);
  EXPECT_EQ(backend.count->total(sum.view()), 2999u + 1999u);
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
