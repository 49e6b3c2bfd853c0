#include "pipeline/counts/plan.hpp"

#include <gtest/gtest.h>

#include "host/error.hpp"
#include "pipeline/counts/frequency_rank.hpp"

namespace aloft {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

CountPlan plan(const CountParams& p) {
  const Backend cpu = make_backend("cpu");
  return plan_count(p, *cpu.count);
}

template <class E>
std::string refusal(const CountParams& p) {
  try {
    (void)plan(p);
  } catch (const E& e) {
    return e.what();
  }
  ADD_FAILURE() << "was not refused";
  return {};
}

TEST(CountPlan, ChoosesByFillAndMemory) {
  CountParams p;
  p.vocab = 256;
  p.expected_tokens = 10'000'000;
  EXPECT_EQ(plan(p).strategy, CountStrategy::dense);
  p.vocab = 50257;
  EXPECT_EQ(plan(p).strategy, CountStrategy::sparse) << "80 GB of counters for 10 M tokens";
  p.vocab = 4096;
  p.expected_tokens = 1'000'000'000;
  EXPECT_EQ(plan(p).strategy, CountStrategy::dense);
  p.memory_bytes = 3072 * kMiB;
  EXPECT_LE(plan(p).total_bytes(), p.memory_bytes);
}

TEST(CountPlan, StripesATableThatDoesNotFit) {
  CountParams p;
  p.vocab = 65536;
  p.expected_tokens = 1'500'000'000;
  p.device_bytes = 76 * 1024 * kMiB;  // an 80 GB card; the table of all rows is 128 GiB
  const CountPlan striped = plan(p);
  EXPECT_EQ(striped.strategy, CountStrategy::striped);
  EXPECT_GE(striped.stripes, 2);
  EXPECT_LE(striped.stripes, p.max_lag);
  EXPECT_GE(striped.stripes * striped.stripe_rows, p.vocab);
  EXPECT_LT((striped.stripes - 1) * striped.stripe_rows, p.vocab);
  EXPECT_LE(striped.total_bytes(), p.device_bytes);
  EXPECT_TRUE(striped.on_device);
  EXPECT_NE(striped.reason.find(std::to_string(striped.stripes) + " stripes of "), std::string::npos);

  p.repeatable = false;
  const CountPlan once = plan(p);
  EXPECT_EQ(once.strategy, CountStrategy::sparse) << "a pipe cannot be streamed again";
  EXPECT_NE(once.reason.find("pipe"), std::string::npos);
  p.strategy = CountStrategy::striped;
  EXPECT_NE(refusal<UsageError>(p).find("pipe"), std::string::npos);
}

TEST(CountPlan, SortsWhereStripesWouldBeMany) {
  CountParams p;
  p.vocab = 65536;
  p.expected_tokens = 2'000'000'000;
  p.memory_bytes = 30 * 1024 * kMiB;
  p.max_lag = 2;  // 32 GiB of counters
  EXPECT_EQ(plan(p).strategy, CountStrategy::striped);
  p.memory_bytes = 15'520 * kMiB;
  p.max_lag = 4;  // 64 GiB of counters, results of 9.4 GiB
  const CountPlan many = plan(p);
  EXPECT_EQ(many.strategy, CountStrategy::striped) << "sorting needs more";
  EXPECT_GT(many.stripes, p.max_lag);
  EXPECT_NE(many.reason.find("sorting would not fit"), std::string::npos) << many.reason;
  for (bool planned = true; planned; p.memory_bytes -= planned ? 16 * kMiB : 0) {
    try {
      EXPECT_LE(plan(p).stripes, 64);
    } catch (const ResourceError&) {
      planned = false;
    }
  }
  EXPECT_NE(refusal<ResourceError>(p).find("(sparse)"), std::string::npos);
  p.strategy = CountStrategy::striped;
  EXPECT_GT(plan(p).stripes, 64) << "asked for";
  p.stripe_rows = 1000;
  EXPECT_EQ(plan(p).stripes, 66) << "asked for";
  p.max_lag = 64;
  p.stripe_rows = 0;
  p.memory_bytes = 0;
  EXPECT_EQ(plan(p).stripes, 1) << "no limit";
}

TEST(CountPlan, TheBudgetIsTheDevicesWhereItHasOne) {
  CountParams p;
  p.vocab = 2048;
  p.expected_tokens = 100'000'000;
  p.memory_bytes = 100 * kMiB;
  p.device_bytes = 4096 * kMiB;
  const CountPlan big = plan(p);
  EXPECT_EQ(big.strategy, CountStrategy::dense) << "host memory does not limit a device's table";
  EXPECT_GT(big.staging_bytes, 0u);
  p.device_bytes = kMiB / 4;
  const std::string what = refusal<ResourceError>(p);
  EXPECT_NE(what.find("--device-memory"), std::string::npos) << what;
  EXPECT_EQ(what.find('\n'), std::string::npos);
  p.device_bytes = 4096 * kMiB;
  p.memory_bytes = kMiB;
  EXPECT_LE(plan(p).staging_bytes, p.memory_bytes) << "shorter chunks";
  p.memory_bytes = kMiB / 8;
  EXPECT_NE(refusal<ResourceError>(p).find("raise --memory"), std::string::npos) << "staging";
}

TEST(CountPlan, RefusesWhatCannotFit) {
  CountParams p;
  p.vocab = 50257;
  p.expected_tokens = 1'000'000;
  p.strategy = CountStrategy::dense;
  p.memory_bytes = 1024 * kMiB;
  EXPECT_NE(refusal<ResourceError>(p).find("--memory"), std::string::npos) << "80 GB do not fit 1 GB";
  p.memory_bytes = kMiB;
  for (const auto s : {CountStrategy::automatic, CountStrategy::striped, CountStrategy::sparse}) {
    p.strategy = s;
    EXPECT_THROW((void)plan(p), ResourceError) << strategy_name(s);
  }
}

TEST(CountPlan, EveryBudgetAboveTheLeastIsAccepted) {
  CountParams p;
  p.vocab = 4000;
  p.expected_tokens = 400'000;
  p.program_bytes = 40 * kMiB;
  for (const auto strategy : {CountStrategy::striped, CountStrategy::automatic}) {
    p.strategy = strategy;
    bool accepted = false;
    for (std::uint64_t mib = 41; mib < 700; mib += 7) {
      p.memory_bytes = mib * kMiB;
      try {
        EXPECT_LE(plan(p).total_bytes() + p.program_bytes, p.memory_bytes);
        accepted = true;
      } catch (const ResourceError& e) {
        EXPECT_FALSE(accepted) << mib << " MiB: " << e.what();
      }
    }
    EXPECT_TRUE(accepted);
  }
}

/// What a refusal says to raise a flag to, in bytes.
std::uint64_t size_named(const std::string& refused, const std::string& flag) {
  const std::string before = flag + " to ";
  const std::size_t at = refused.find(before);
  EXPECT_NE(at, std::string::npos) << refused;
  if (at == std::string::npos) return 0;
  std::size_t used = 0;
  const std::string number = refused.substr(at + before.size());
  const std::uint64_t size = std::stoull(number, &used);
  return size * (number[used] == 'G' ? 1024 * kMiB : kMiB);
}

// The size named was that of shorter chunks than the next run took, which was refused with a larger one.
TEST(CountPlan, WhatARefusalSaysWillDo) {
  for (const auto strategy :
       {CountStrategy::automatic, CountStrategy::dense, CountStrategy::striped, CountStrategy::sparse})
    for (const std::int64_t vocab : {256, 5000, 50'257})
      for (const std::uint64_t tokens : {40'000u, 3'000'000u, 500'000'000u})
        for (const bool repeatable : {true, false}) {
          if (strategy == CountStrategy::striped && !repeatable) continue;
          CountParams p;
          p.vocab = vocab;
          p.strategy = strategy;
          p.expected_tokens = tokens;
          p.repeatable = repeatable;
          p.program_bytes = 40 * kMiB + 4096;
          p.memory_bytes = kMiB;
          const std::uint64_t named = size_named(refusal<ResourceError>(p), "--memory");
          p.memory_bytes = named;
          p.program_bytes += 900'000;  // the next start
          EXPECT_LE(plan(p).total_bytes() + p.program_bytes, named)
              << strategy_name(strategy) << ", " << vocab << " ids, " << tokens << " tokens";
          p.memory_bytes = 0;
          p.device_bytes = 1;
          p.device_bytes = size_named(refusal<ResourceError>(p), "--device-memory");
          EXPECT_LE(plan(p).total_bytes(), p.device_bytes);
        }
}

TEST(CountPlan, NoMoreChunksThanTheCorpusHas) {
  CountParams p;
  p.vocab = 20'000;
  p.strategy = CountStrategy::sparse;
  p.expected_tokens = 2'000'000;
  const CountPlan one = plan(p);
  EXPECT_EQ(one.chunks_at_once, 1);
  p.expected_tokens = 50'000'000;
  EXPECT_EQ(plan(p).chunks_at_once, 1) << "nothing to add up";
  p.expected_tokens = 100'000'000;
  const CountPlan two = plan(p);
  EXPECT_EQ(two.chunks_at_once, 2);
  EXPECT_EQ(two.chunk_tokens, 50'000'000) << "the second is as long as the first";
  p.expected_tokens = 500'000'000;
  EXPECT_EQ(plan(p).chunks_at_once, ChunkRing::kSlots);
  p.expected_tokens = 0;  // a pipe
  EXPECT_EQ(plan(p).chunks_at_once, ChunkRing::kSlots);
}

TEST(CountPlan, ChunksShrinkWithTheMemoryAndTheCorpus) {
  CountParams p;
  p.vocab = 256;
  p.expected_tokens = 100'000;
  EXPECT_EQ(plan(p).chunk_tokens, 100'000);
  p.expected_tokens = 1'000'000'000;
  p.memory_bytes = 32 * kMiB;
  for (const auto s : {CountStrategy::dense, CountStrategy::sparse}) {
    p.strategy = s;
    const CountPlan small = plan(p);
    EXPECT_LE(small.total_bytes(), p.memory_bytes) << strategy_name(s);
    EXPECT_LT(small.chunk_tokens, 1 << 20);
  }
  p.chunk_tokens = 777;
  EXPECT_EQ(plan(p).chunk_tokens, 777);
}

TEST(FrequencyRank, OrdersByCountThenId) {
  std::vector<std::uint64_t> counts(300, 0);
  counts[299] = 50;
  counts[7] = 9;
  counts[150] = 50;
  const auto rank = frequency_rank(counts);
  ASSERT_TRUE(rank);
  EXPECT_EQ((*rank)[150], 0u);
  EXPECT_EQ((*rank)[299], 1u);
  EXPECT_EQ((*rank)[7], 2u);
  EXPECT_EQ((*rank)[0], 3u) << "ids that never occur follow in their order";
  EXPECT_EQ((*rank)[8], 10u);
}

TEST(FrequencyRank, LeavesIdsThatAreNearlyInOrder) {
  std::vector<std::uint64_t> counts(2000);
  for (std::size_t i = 0; i < counts.size(); ++i) counts[i] = 1'000'000 / (i + 1);
  EXPECT_FALSE(frequency_rank(counts)) << "sorted";
  std::swap(counts[3], counts[40]);
  EXPECT_FALSE(frequency_rank(counts)) << "the head is the same";
  std::swap(counts[0], counts[1999]);
  EXPECT_TRUE(frequency_rank(counts)) << "the most frequent id is the last";
  EXPECT_FALSE(frequency_rank(std::vector<std::uint64_t>(2000, 5))) << "no order at all";
  EXPECT_FALSE(frequency_rank({0, 0, 9})) << "a small table";
}

}  // namespace
}  // namespace aloft
