#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "host/error.hpp"
#include "pipeline/run/plan.hpp"
#include "tests/cli_helpers.hpp"
#include "tests/simt/cudart.hpp"
#include "tests/stream_source.hpp"
#include "tools/aloft/commands.hpp"

// Counting on the CUDA backend as a whole: what it takes of the device's memory, and that it agrees with the
// CPU backend byte for byte. The order of streams is random (the seed), and memory beyond the limit is not
// there.

namespace aloft {
namespace {

using cli_tests::Folder;

/// Words with a skewed law and some structure, as text.
std::string text(std::size_t words, unsigned types, unsigned seed) {
  std::mt19937 random(seed);
  std::string out;
  unsigned last = 0;
  for (std::size_t k = 0; k < words; ++k) {
    const double u = static_cast<double>(random() >> 5) / (1 << 27);
    last = random() % 3 == 0 ? (last * 7 + 1) % types : static_cast<unsigned>(types * u * u);
    out += std::string(1, static_cast<char>('a' + last % 26)) +
           std::string(1, static_cast<char>('a' + last / 26 % 26)) + (k % 20 == 19 ? "\n" : " ");
  }
  return out;
}

constexpr std::int64_t kVocab = 300;

std::vector<TokenId> ids_out_of_order() {
  std::mt19937 random(9);
  std::vector<TokenId> out(12000);
  for (TokenId& id : out)
    id = random() % 100 == 0
             ? kDocumentBreak
             : static_cast<TokenId>(kVocab - 1 - std::min({random() % kVocab, random() % kVocab}));
  return out;
}

CountParams params(CountStrategy strategy) {
  CountParams p;
  p.vocab = kVocab;
  p.max_lag = 2;
  p.strategy = strategy;
  p.chunk_tokens = 3000;
  p.expected_tokens = 30'000;  // more than there are: the estimate of the results is not tight
  return p;
}

Counts count(Backend& backend, const CountParams& p, const std::vector<TokenId>& ids) {
  NoProgress progress;
  Context ctx(backend, progress);
  return count_transitions(ctx, p, [&] { return std::make_unique<StreamSource>(ids); });
}

void expect_same(const Counts& a, const Counts& b) {
  ASSERT_EQ(a.lags.size(), b.lags.size());
  EXPECT_EQ(a.unigram, b.unigram);
  EXPECT_EQ(a.pairs, b.pairs);
  for (std::size_t l = 0; l < a.lags.size(); ++l) {
    EXPECT_EQ(to_host(a.lags[l].row_offsets), to_host(b.lags[l].row_offsets));
    EXPECT_EQ(to_host(a.lags[l].columns), to_host(b.lags[l].columns));
    EXPECT_EQ(to_host(a.lags[l].values), to_host(b.lags[l].values));
  }
}

TEST(CudaStreaming, StaysWithinTheBudgetItPlannedFor) {
  const auto ids = ids_out_of_order();
  Backend cpu = make_backend("cpu");
  const Counts want = count(cpu, params(CountStrategy::dense), ids);
  std::vector<std::int32_t> stripes;
  for (const std::uint64_t budget : {4'000'000u, 1'200'000u, 1'100'000u}) {
    CountParams p = params(CountStrategy::striped);
    p.device_bytes = budget;
    const std::size_t before = simt::runtime.bytes;
    simt::runtime.capacity = before + budget;
    simt::runtime.peak_bytes = before;
    {
      Backend cuda = make_backend("cuda");
      stripes.push_back(plan_count(p, *cuda.count).stripes);
      expect_same(count(cuda, p, ids), want);
    }
    EXPECT_LE(simt::runtime.peak_bytes - before, budget);
    EXPECT_EQ(simt::runtime.bytes, before) << "something was not given back";
    EXPECT_EQ(simt::runtime.host_allocations, 0);
  }
  EXPECT_EQ(stripes.front(), 1) << "all rows fit";
  EXPECT_GE(stripes[1], 2);
  EXPECT_GT(stripes.back(), stripes[1]);
}

TEST(CudaStreaming, EveryStrategyStaysWithinWhatItSaysItNeeds) {
  const auto ids = ids_out_of_order();
  Backend cpu = make_backend("cpu");
  const Counts want = count(cpu, params(CountStrategy::dense), ids);
  for (const CountStrategy strategy : {CountStrategy::dense, CountStrategy::striped, CountStrategy::sparse})
    for (const std::uint64_t flush : {std::uint64_t{5000}, std::uint64_t{0xFFFF'FFFF}}) {
      CountParams p = params(strategy);
      p.flush_after = flush;
      p.stripe_rows = 110;
      const std::size_t before = simt::runtime.bytes;
      {
        Backend cuda = make_backend("cuda");
        p.device_bytes = std::uint64_t{1} << 30;
        p.device_bytes = plan_count(p, *cuda.count).total_bytes();
        simt::runtime.capacity = before + p.device_bytes;
        expect_same(count(cuda, p, ids), want);
      }
      simt::runtime.capacity = simt::Runtime{}.capacity;
    }
}

// Nothing is allocated from the second chunk on.
TEST(CudaStreaming, TheSteadyStateAllocatesNothing) {
  const auto ids = ids_out_of_order();
  for (const CountStrategy strategy : {CountStrategy::dense, CountStrategy::striped}) {
    class Watching final : public ProgressSink {
     public:
      void update(std::string_view, double, double, std::uint64_t, std::string_view) override {
        allocations.push_back(simt::runtime.allocations);
        pinned.push_back(simt::runtime.host_allocations);
      }
      void finish(std::string_view, double, bool) override {}
      std::vector<int> allocations, pinned;
    } watching;
    Backend cuda = make_backend("cuda");
    Context ctx(cuda, watching);
    CountParams p = params(strategy);
    p.chunk_tokens = 1000;
    (void)count_transitions(ctx, p, [&] { return std::make_unique<StreamSource>(ids); });
    ASSERT_EQ(watching.allocations.size(), 12u);
    for (std::size_t k = 2; k < 12; ++k) EXPECT_EQ(watching.allocations[k], watching.allocations[1]);
    for (const int n : watching.pinned) EXPECT_EQ(n, 1);
  }
}

class Program {
 public:
  struct Outcome {
    int code = 0;
    std::string out, err;
  };
  static Outcome run(const std::vector<std::string>& words) {
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    Outcome o;
    std::vector<const char*> arguments{"aloft"};
    for (const std::string& word : words) arguments.push_back(word.c_str());
    o.code = run_program(static_cast<int>(arguments.size()), arguments.data());
    o.out = testing::internal::GetCapturedStdout();
    o.err = testing::internal::GetCapturedStderr();
    return o;
  }
};

TEST(CudaStreaming, TheProgramCountsTheSameBytesOnBothBackendsAndByEveryStrategy) {
  const Folder folder;
  const std::string corpus = folder.file("text.txt", text(9000, 400, 4));
  const auto count_to = [&](const std::string& name, std::vector<std::string> more) {
    std::vector<std::string> words{"count",       "--quiet", "--corpus",     corpus,
                                   "--tokenizer", "words",   "--vocab-size", "300",
                                   "--lags",      "3",       "--output",     folder / name};
    words.insert(words.end(), more.begin(), more.end());
    const auto o = Program::run(words);
    EXPECT_EQ(o.code, 0) << o.err;
    return cli_tests::content(folder / name);
  };
  const std::string want = count_to("cpu", {"--backend", "cpu"});
  for (const std::string strategy : {"auto", "dense", "striped", "sparse"})
    EXPECT_TRUE(count_to(strategy, {"--backend", "cuda", "--strategy", strategy}) == want) << strategy;
  EXPECT_TRUE(count_to("small", {"--backend", "cuda", "--strategy", "striped", "--device-memory", "1000K"}) ==
              want);
}

TEST(CudaStreaming, TheProgramRefusesABudgetThatIsTooSmall) {
  const Folder folder;
  const std::string corpus = folder.file("text.txt", text(3000, 400, 4));
  for (const std::string strategy : {"auto", "dense", "striped", "sparse"}) {
    const auto o = Program::run({"count", "--quiet", "--corpus", corpus, "--tokenizer", "words",
                                 "--vocab-size", "300", "--backend", "cuda", "--strategy", strategy,
                                 "--device-memory", "100K", "--output", folder / "out"});
    EXPECT_EQ(o.code, 4);
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
    EXPECT_NE(o.err.find("--device-memory"), std::string::npos) << o.err;
    EXPECT_FALSE(std::filesystem::exists(folder / "out"));
  }
}

TEST(CudaStreaming, ThePlanNamesTheDevicesBudget) {
  const std::vector<std::string> words{
      "plan",  "--backend", "cuda",    "--tokens",        "1500000000", "--vocab-size",
      "65536", "--arch",    "nanogpt", "--layers",        "4",          "--d-model",
      "256",   "--memory",  "2T",      "--device-memory", "76G"};
  const auto o = Program::run(words);
  EXPECT_NE(o.out.find("striped, "), std::string::npos) << o.out;
  EXPECT_NE(o.out.find(" stripes of "), std::string::npos) << o.out;
  EXPECT_NE(o.out.find("global-memory counters"), std::string::npos) << "the kernel's name: " << o.out;
  EXPECT_NE(o.out.find("77824.0 MiB allowed"), std::string::npos) << o.out;
}

}  // namespace
}  // namespace aloft
