#include <gtest/gtest.h>

#include <vector>

#include "tests/simt/cudart.hpp"
#include "tests/simt/engine.hpp"
#include "tests/simt/sample_kernels.hpp"

// Every planted defect is caught: by an error of the launch or by a wrong value under some schedule. What
// each variant of the program can see differs: lost updates need pre-emption between a load and its store,
// which only the race build has; overflows need AddressSanitizer.

namespace simt::samples {
namespace {

constexpr std::uint64_t kSeeds = 64;

enum class Seen { by_any_build, by_race_build };
struct Case {
  Defect defect;
  const char* name;
  int threads = 64, blocks = 1, n = 0;
  Seen seen = Seen::by_any_build;
};
std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }

/// What a GPU running the corrected kernel would leave; empty where only an error can tell.
std::vector<unsigned> intended(const Case& c) {
  const auto threads = unsigned(c.threads);
  std::vector<unsigned> want(threads);
  for (unsigned t = 0; t < threads; ++t) {
    switch (c.defect) {
      case Defect::missing_barrier:
        want[t] = threads - 1 - t;
        break;
      case Defect::missing_barrier_in_loop:
        want[t] = (t + 4) % threads;
        break;
      case Defect::plain_increment_in_shared:
        want[0] = threads;
        break;
      case Defect::plain_increment_in_global:
        want[0] = threads * unsigned(c.blocks);
        break;
      case Defect::missing_trailing_barrier:
        want[0] = threads * 3;
        break;
      case Defect::missing_syncwarp:
        want[t] = t ^ 1;
        break;
      case Defect::unwritten_shared:
        want[t] = t < 2 ? threads / 2 : 0;
        break;
      default:
        return {};
    }
  }
  return want;
}

class SimtWrong : public testing::TestWithParam<Case> {};

TEST_P(SimtWrong, IsCaughtUnderSomeSchedule) {
  const Case c = GetParam();
  if (c.seen == Seen::by_race_build && !hooks->finds_races())
    GTEST_SKIP()
        << "a schedule that only switches in barriers and atomics never splits a load from its store";
  const std::vector<unsigned> want = intended(c);
  std::uint64_t caught = 0;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    config.seed = seed;
    std::vector<unsigned> g(std::size_t(c.threads));
    const cudaError_t code = wrong(c.defect, g.data(), c.n, c.blocks, c.threads, 0);
    if (code != cudaSuccess) {
      EXPECT_FALSE(last_error.empty());
      runtime.reset(0);
    }
    caught += code != cudaSuccess || (!want.empty() && g != want);
  }
  EXPECT_GT(caught, 0u);
  if (want.empty()) {
    EXPECT_EQ(caught, kSeeds) << "misuse of a barrier or collective is an error at every seed";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Each, SimtWrong,
    testing::Values(
        Case{Defect::missing_barrier, "MissingBarrier", 256},
        Case{Defect::missing_barrier_in_loop, "MissingBarrierInLoop"},
        Case{Defect::plain_increment_in_shared, "PlainIncrementInShared", 64, 1, 0, Seen::by_race_build},
        Case{Defect::plain_increment_in_global, "PlainIncrementInGlobal", 64, 2, 0, Seen::by_race_build},
        Case{Defect::missing_trailing_barrier, "MissingTrailingBarrier", 128},
        Case{Defect::missing_syncwarp, "MissingSyncwarp"},
        Case{Defect::divergent_barrier, "DivergentBarrier"}, Case{Defect::skipped_barrier, "SkippedBarrier"},
        Case{Defect::early_return_before_barrier, "EarlyReturnBeforeBarrier", 64, 1, 50},
        Case{Defect::partial_warp_in_full_mask, "PartialWarpInFullMask"},
        Case{Defect::lane_outside_its_mask, "LaneOutsideItsMask"},
        Case{Defect::shuffle_from_absent_lane, "ShuffleFromAbsentLane", 48},
        Case{Defect::unwritten_shared, "UnwrittenShared"}),
    [](const auto& c) { return c.param.name; });

TEST(SimtRaces, TheReportSaysWhatAndWhere) {
  if (!hooks->finds_races()) GTEST_SKIP() << "the race build checks this";
  const auto report = [](Defect defect) {
    std::vector<unsigned> g(256);
    EXPECT_EQ(wrong(defect, g.data(), 0, 2, 256, 0), cudaErrorLaunchFailure) << int(defect);
    const std::string said = last_error;
    EXPECT_NE(said.find("wrong_kernels.cu:"), std::string::npos) << said;
    runtime.reset(0);
    return said;
  };
  for (const Defect defect : {Defect::missing_barrier_in_loop, Defect::plain_increment_in_shared,
                              Defect::plain_increment_in_global, Defect::missing_trailing_barrier})
    EXPECT_NE(report(defect).find("data race"), std::string::npos) << int(defect);
  // Here the first thread reads before its neighbour has written anything.
  for (const Defect defect : {Defect::missing_barrier, Defect::missing_syncwarp, Defect::unwritten_shared})
    EXPECT_NE(report(defect).find("uninitialised"), std::string::npos) << int(defect);
}

TEST(SimtRaces, FreshDeviceMemoryIsUninitialised) {
  if (!hooks->finds_races()) GTEST_SKIP() << "the race build checks this";
  void *x = nullptr, *out = nullptr;
  ASSERT_EQ(cudaMalloc(&x, 4096), cudaSuccess);
  ASSERT_EQ(cudaMalloc(&out, 64), cudaSuccess);
  EXPECT_EQ(block_sums(static_cast<unsigned*>(x), 1024, static_cast<unsigned long long*>(out), 2),
            cudaErrorLaunchFailure);
  EXPECT_NE(last_error.find("uninitialised"), std::string::npos) << last_error;
  runtime.reset(0);
  ASSERT_EQ(cudaMemset(x, 0, 4096), cudaSuccess);
  EXPECT_EQ(block_sums(static_cast<unsigned*>(x), 1024, static_cast<unsigned long long*>(out), 2),
            cudaSuccess)
      << last_error;
  EXPECT_EQ(cudaFree(x), cudaSuccess);
  EXPECT_EQ(cudaFree(out), cudaSuccess);
}

#ifdef __SANITIZE_ADDRESS__
TEST(SimtOverflowDeathTest, AddressSanitizerSeesTheEndOfEveryMemory) {
  std::vector<unsigned> exact(256);
  exact.shrink_to_fit();
  EXPECT_DEATH((void)wrong(Defect::global_overflow, exact.data(), 0, 1, 256, 0), "heap-buffer-overflow");
  EXPECT_DEATH((void)wrong(Defect::static_shared_overflow, exact.data(), 0, 1, 256, 0),
               "global-buffer-overflow|out of bounds");
  EXPECT_DEATH((void)wrong(Defect::dynamic_shared_overflow, exact.data(), 0, 1, 64, 256),
               "heap-buffer-overflow");
}
#endif

TEST(SimtErrors, AnAbortedLaunchLeavesTheShimUsable) {
  std::vector<unsigned> g(64);
  EXPECT_EQ(wrong(Defect::skipped_barrier, g.data(), 0, 1, 64, 0), cudaErrorLaunchFailure);
  EXPECT_EQ(wrong(Defect::none, g.data(), 0, 1, 64, 0), cudaErrorLaunchFailure)
      << "a kernel's failure is sticky";
  runtime.reset(0);
  EXPECT_EQ(wrong(Defect::none, g.data(), 0, 1, 64, 0), cudaSuccess);
  EXPECT_EQ(g[63], 63u);
}

TEST(SimtErrors, ADeadlockSaysWhoWaitsWhere) {
  std::vector<unsigned> g(64);
  EXPECT_EQ(wrong(Defect::partial_warp_in_full_mask, g.data(), 0, 1, 64, 0), cudaErrorLaunchFailure);
  EXPECT_NE(last_error.find("deadlock"), std::string::npos) << last_error;
  EXPECT_NE(last_error.find("warp op mask ffffffff at"), std::string::npos) << last_error;
  EXPECT_NE(last_error.find("wrong_kernels.cu:"), std::string::npos) << last_error;
}

}  // namespace
}  // namespace simt::samples
