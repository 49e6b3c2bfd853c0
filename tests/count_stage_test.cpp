#include <gtest/gtest.h>
#include <omp.h>

#include <map>
#include <random>

#include "host/error.hpp"
#include "kernels/spectral_measures.hpp"
#include "pipeline/count_plan.hpp"
#include "pipeline/stages.hpp"

namespace aloft {
namespace {

class VectorSource final : public TokenSource {
 public:
  explicit VectorSource(const std::vector<TokenId>& ids) : ids_(ids) {}
  std::size_t read(std::span<TokenId> out) override {
    const std::size_t n =
        std::min({out.size(), ids_.size() - at_, std::size_t{97}});  // short reads are legal
    std::copy_n(ids_.begin() + std::ptrdiff_t(at_), n, out.begin());
    at_ += n;
    return n;
  }
  Position position() const override { return {at_, ids_.size()}; }

 private:
  const std::vector<TokenId>& ids_;
  std::size_t at_ = 0;
};

using Table = std::map<std::pair<TokenId, TokenId>, std::uint64_t>;

Table oracle(const std::vector<TokenId>& t, std::size_t lag) {
  Table out;
  for (std::size_t k = 0; k + lag < t.size(); ++k) {
    bool inside = true;
    for (std::size_t m = 0; m <= lag; ++m) inside = inside && t[k + m] != kDocumentBreak;
    if (inside) ++out[{t[k], t[k + lag]}];
  }
  return out;
}

Table table_of(const CountCsr& csr) {
  const auto offsets = to_host(csr.row_offsets);
  const auto columns = to_host(csr.columns);
  const auto values = to_host(csr.values);
  Table out;
  for (std::size_t i = 0; i < std::size_t(csr.rows); ++i)
    for (auto p = offsets[i]; p < offsets[i + 1]; ++p) out[{TokenId(i), columns[p]}] = values[p];
  return out;
}

class CountStage : public ::testing::TestWithParam<std::string> {
 protected:
  Counts count(const std::vector<TokenId>& ids, CountParams p) {
    VectorSource source(ids);
    return count_transitions(ctx, p, source);
  }
  Backend backend = make_backend(GetParam());
  NoProgress progress;
  Context ctx{backend, progress};
};

std::vector<TokenId> text(std::size_t n, TokenId vocab, unsigned seed) {
  std::mt19937 rng(seed);
  std::vector<TokenId> out(n);
  for (auto& id : out)
    id = rng() % 50 == 0 ? kDocumentBreak : TokenId(std::min(rng() % vocab, rng() % vocab));
  return out;
}

TEST_P(CountStage, EveryStrategyChunkAndFlushGivesTheOracle) {
  const auto ids = text(3000, 60, 1);
  std::string hash;
  for (const CountStrategy strategy :
       {CountStrategy::dense, CountStrategy::sparse, CountStrategy::automatic}) {
    for (const std::int64_t chunk : {3, 8, 64, 1000, 100000})
      for (const std::uint64_t flush : {std::uint64_t{500}, std::uint64_t{0xFFFFFFFF}}) {
        CountParams p;
        p.vocab = 60;
        p.max_lag = 8;
        p.strategy = strategy;
        p.chunk_tokens = chunk;
        p.flush_after = flush;
        const Counts c = count(ids, p);
        for (std::size_t lag = 1; lag <= 8; ++lag)
          ASSERT_EQ(table_of(c.lags[lag - 1]), oracle(ids, lag)) << "chunk " << chunk << " flush " << flush;
        if (hash.empty()) hash = c.corpus_hash;
        EXPECT_EQ(c.corpus_hash, hash) << "the hash depends on the chunks";
      }
  }
}

TEST_P(CountStage, PairsRowSumsAndUnigramAgree) {
  const auto ids = text(5000, 40, 2);
  CountParams p;
  p.vocab = 40;
  const Counts c = count(ids, p);
  std::uint64_t tokens = 0;
  for (const auto id : ids) tokens += id != kDocumentBreak;
  EXPECT_EQ(c.tokens, tokens);
  for (std::size_t n = 0; n < 8; ++n) {
    std::uint64_t pairs = 0;
    for (const auto& [pair, value] : table_of(c.lags[n])) pairs += value;
    EXPECT_EQ(c.pairs[n], pairs);
    if (n > 0) {
      EXPECT_LT(c.pairs[n], c.pairs[n - 1]);  // every document loses one pair a lag
    }
  }
}

TEST_P(CountStage, EmptyAndTinyCorpora) {
  CountParams p;
  p.vocab = 5;
  for (const std::vector<TokenId>& ids :
       {std::vector<TokenId>{}, {kDocumentBreak}, {3}, {3, kDocumentBreak, 3}}) {
    const Counts c = count(ids, p);
    ASSERT_EQ(c.lags.size(), 8u);
    for (const CountCsr& lag : c.lags) EXPECT_EQ(lag.nnz(), 0);
  }
  const Counts c = count({0, 1, 2}, p);
  EXPECT_EQ(c.pairs, (std::vector<std::uint64_t>{2, 1, 0, 0, 0, 0, 0, 0}));
}

TEST_P(CountStage, AnInterruptStopsIt) {
  const auto ids = text(3000, 60, 1);
  CountParams p;
  p.vocab = 60;
  set_interrupt_requested(true);
  EXPECT_THROW((void)count(ids, p), Interrupted);
  set_interrupt_requested(false);
}

TEST_P(CountStage, TheShuffledNullHasTheUnigramAndNoDirection) {
  // A corpus with strong direction: each token is followed by its successor modulo 16, mostly.
  std::mt19937 rng(3);
  std::vector<TokenId> ids{0};
  while (ids.size() < 60000) ids.push_back(rng() % 10 == 0 ? TokenId(rng() % 16) : (ids.back() + 1) % 16);
  CountParams p;
  p.vocab = 20;  // four ids never occur
  p.max_lag = 2;
  const Counts real = count(ids, p);
  const Counts null = count_shuffled_null(ctx, real, 60000, 7);
  EXPECT_EQ(null.tokens, 60000u);
  for (std::size_t i = 0; i < 20; ++i) {
    const double expected = double(real.unigram[i]);
    EXPECT_NEAR(double(null.unigram[i]), expected, 5 * std::sqrt(expected) + 0.5) << i;
  }
  if (!backend.linear) return;
  const auto ratio = [&](const Counts& c) {
    return asymmetry(
               backend.linear->transpose_inner(backend.linear->to_real(c.lags[0].view(), nullptr).view()))
        .ratio;
  };
  EXPECT_GT(ratio(real), 0.6);
  EXPECT_LT(ratio(null), 0.1);
  const Counts again = count_shuffled_null(ctx, real, 60000, 7);
  EXPECT_EQ(table_of(null.lags[0]), table_of(again.lags[0]));
}

INSTANTIATE_TEST_SUITE_P(Each, CountStage, ::testing::ValuesIn(available_backends()),
                         [](const auto& backend_info) { return backend_info.param; });

TEST(CountPlan, ChoosesByFillAndMemory) {
  CountParams p;
  p.vocab = 256;
  p.expected_tokens = 10'000'000;
  EXPECT_EQ(plan_count(p).strategy, CountStrategy::dense);
  p.vocab = 50257;
  EXPECT_EQ(plan_count(p).strategy, CountStrategy::sparse) << "80 GB of counters for 10 M tokens";
  p.vocab = 4096;
  p.expected_tokens = 1'000'000'000;
  EXPECT_EQ(plan_count(p).strategy, CountStrategy::dense);
  p.memory_bytes = std::uint64_t{3} << 30;
  const CountPlan tight = plan_count(p);
  EXPECT_LE(tight.total_bytes(), p.memory_bytes);
}

TEST(CountPlan, RefusesWhatCannotFit) {
  CountParams p;
  p.vocab = 50257;
  p.expected_tokens = 1'000'000;
  p.strategy = CountStrategy::dense;
  p.memory_bytes = std::uint64_t{1} << 30;
  try {
    (void)plan_count(p);
    FAIL() << "80 GB were to fit 1 GB";
  } catch (const ResourceError& e) {
    EXPECT_NE(std::string(e.what()).find("--memory"), std::string::npos);
  }
  p.memory_bytes = 1 << 20;
  p.strategy = CountStrategy::automatic;
  EXPECT_THROW((void)plan_count(p), ResourceError);
}

}  // namespace
}  // namespace aloft
