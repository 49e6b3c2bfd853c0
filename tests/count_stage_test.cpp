#include <gtest/gtest.h>
#include <omp.h>

#include <map>
#include <random>

#include "host/error.hpp"
#include "kernels/spectral_measures.hpp"
#include "pipeline/counts/counts.hpp"
#include "tests/count_helpers.hpp"
#include "tests/stream_source.hpp"

namespace aloft {
namespace {

Table oracle(const std::vector<TokenId>& t, std::size_t lag) {
  Table out;
  for (std::size_t k = 0; k + lag < t.size(); ++k) {
    bool inside = true;
    for (std::size_t m = 0; m <= lag; ++m) inside = inside && t[k + m] != kDocumentBreak;
    if (inside) ++out[{t[k], t[k + lag]}];
  }
  return out;
}

class CountStage : public ::testing::TestWithParam<std::string> {
 protected:
  Counts count(const std::vector<TokenId>& ids, CountParams p) {
    return count_transitions(ctx, p, [&] { return std::make_unique<StreamSource>(ids); });
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
  std::vector<std::int64_t> chunks{3, 8, 64, 1000, 100000};
  if (GetParam() == "cuda") chunks = {90, 1000, 100000};  // a launch is slow where the tests execute it
  std::string hash;
  for (const CountStrategy strategy :
       {CountStrategy::dense, CountStrategy::striped, CountStrategy::sparse, CountStrategy::automatic}) {
    for (const std::int64_t chunk : chunks)
      for (const std::uint64_t flush : {std::uint64_t{500}, std::uint64_t{0xFFFFFFFF}}) {
        CountParams p;
        p.vocab = 60;
        p.max_lag = 8;
        p.strategy = strategy;
        p.chunk_tokens = chunk;
        p.flush_after = flush;
        p.stripe_rows = 25;  // three stripes, the last one shorter
        const Counts c = count(ids, p);
        for (std::size_t lag = 1; lag <= 8; ++lag)
          ASSERT_EQ(table_of(c.lags[lag - 1]), oracle(ids, lag)) << "chunk " << chunk << " flush " << flush;
        if (hash.empty()) hash = c.corpus_hash;
        EXPECT_EQ(c.corpus_hash, hash) << "the hash depends on the chunks";
      }
  }
}

// Ids out of order of frequency and beyond 256, so that tables are renumbered; chunks of random length.
TEST_P(CountStage, RandomChunksAndStripesGiveTheOracle) {
  std::mt19937 rng(11);
  auto ids = text(4000, 300, 12);
  for (TokenId& id : ids)
    if (id != kDocumentBreak) id = 299 - id;
  ids.insert(ids.begin(), 500, 299);  // all-equal tokens at the start: the first chunk's ranks are poor ones
  std::vector<Table> want;
  for (std::size_t lag = 1; lag <= 3; ++lag) want.push_back(oracle(ids, lag));
  for (int round = 0; round < 12; ++round) {
    CountParams p;
    p.vocab = 300;
    p.max_lag = 3;
    p.strategy = round % 3 == 0   ? CountStrategy::dense
                 : round % 3 == 1 ? CountStrategy::striped
                                  : CountStrategy::sparse;
    p.chunk_tokens = 1 + static_cast<std::int64_t>(rng() % 3000);
    p.stripe_rows = 40 + static_cast<std::int64_t>(rng() % 300);
    p.flush_after = rng() % 2 == 0 ? 1000 : 0xFFFF'FFFF;
    const Counts c = count(ids, p);
    for (std::size_t lag = 1; lag <= 3; ++lag)
      ASSERT_EQ(table_of(c.lags[lag - 1]), want[lag - 1])
          << "round " << round << ", chunks of " << p.chunk_tokens << ", stripes of " << p.stripe_rows;
  }
}

TEST_P(CountStage, StripesStreamTheCorpusOnceEachAndCompareThePasses) {
  const auto ids = text(1000, 60, 5);
  CountParams p;
  p.vocab = 60;
  p.strategy = CountStrategy::striped;
  p.stripe_rows = 16;
  int passes = 0;
  const Counts c = count_transitions(ctx, p, [&] {
    ++passes;
    return std::make_unique<StreamSource>(ids);
  });
  EXPECT_EQ(passes, 4);
  EXPECT_EQ(c.tokens, count(ids, CountParams{.vocab = 60}).tokens) << "tokens are counted in one pass only";
  auto other = ids;
  other[500] = other[500] == 1 ? 2 : 1;
  passes = 0;
  EXPECT_THROW((void)count_transitions(
                   ctx, p, [&] { return std::make_unique<StreamSource>(++passes == 3 ? other : ids); }),
               InputError);
}

TEST_P(CountStage, AFailingSourceEndsItInAnyPass) {
  class Failing final : public TokenSource {
   public:
    std::size_t read(std::span<TokenId> out) override {
      if (++reads_ > 3) throw InputError("broken.bin: at last");
      std::fill(out.begin(), out.end(), TokenId{1});
      return out.size();
    }
    Position position() const override { return {}; }

   private:
    int reads_ = 0;
  };
  const std::vector<TokenId> ids(48, 1);
  CountParams p;
  p.vocab = 60;
  p.strategy = CountStrategy::striped;
  p.stripe_rows = 30;
  p.chunk_tokens = 8;
  for (const int failing : {1, 2}) {
    int pass = 0;
    EXPECT_THROW((void)count_transitions(ctx, p,
                                         [&]() -> std::unique_ptr<TokenSource> {
                                           if (++pass == failing) return std::make_unique<Failing>();
                                           return std::make_unique<StreamSource>(ids);
                                         }),
                 InputError);
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

}  // namespace
}  // namespace aloft
