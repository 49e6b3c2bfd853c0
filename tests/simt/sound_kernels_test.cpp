#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "tests/simt/cudart.hpp"
#include "tests/simt/engine.hpp"
#include "tests/simt/sample_kernels.hpp"
#include "tests/simt/symbols.hpp"

// Correct kernels give the right answer under every schedule, and the shim's pieces mean what CUDA's mean.

namespace simt::samples {
namespace {

/// Skewed ids below `vocab`, as words are.
std::vector<std::uint16_t> skewed_ids(std::size_t n, unsigned vocab) {
  std::mt19937 random(7);
  std::vector<std::uint16_t> out(n);
  for (auto& id : out) {
    const double u = double(random() >> 5) / (1 << 27);
    id = std::uint16_t(double(vocab) * u * u * u);
  }
  return out;
}

/// Runs `body` under several seeds, and with one to three blocks in flight.
template <class Body>
void under_many_schedules(const Body& body) {
  const std::uint64_t base = config.seed;
  for (std::uint64_t s = 0; s < 12; ++s) {
    config.seed = base + s;
    config.resident = 1 + unsigned(s % 3);
    SCOPED_TRACE("seed " + std::to_string(config.seed));
    body(unsigned(s));
  }
}

TEST(SimtSound, HistogramInStaticSharedMemory) {
  under_many_schedules([](unsigned s) {
    const auto ids = skewed_ids(s % 2 ? 3001 : 515, kBins);
    std::vector<unsigned> want(kBins), got(kBins);
    for (const auto id : ids) ++want[id];
    ASSERT_EQ(histogram(ids.data(), ids.size(), got.data(), 1 + int(s % 4)), cudaSuccess) << last_error;
    EXPECT_EQ(got, want);
  });
}

TEST(SimtSound, WarpAggregatedPairCounts) {
  under_many_schedules([](unsigned s) {
    const unsigned vocab = s % 2 ? 64 : 150;
    const auto ids = skewed_ids(s % 3 ? 1501 : 31, vocab);
    std::vector<unsigned> want(std::size_t(kLags) * vocab * vocab), got(want.size());
    for (std::size_t lag = 1; lag <= kLags; ++lag)
      for (std::size_t i = 0; i + lag < ids.size(); ++i)
        ++want[((lag - 1) * vocab + ids[i]) * vocab + ids[i + lag]];
    ASSERT_EQ(pair_counts(ids.data(), ids.size(), vocab, got.data(), 1 + int(s % 4)), cudaSuccess)
        << last_error;
    EXPECT_EQ(got, want);
  });
}

TEST(SimtSound, BlockSumsThroughShufflesAndSharedMemory) {
  std::vector<unsigned> x(5000);
  std::iota(x.begin(), x.end(), 3u);
  under_many_schedules([&](unsigned s) {
    std::vector<unsigned long long> got(1 + s % 5, ~0ull);
    ASSERT_EQ(block_sums(x.data(), x.size(), got.data(), int(got.size())), cudaSuccess) << last_error;
    EXPECT_EQ(std::accumulate(got.begin(), got.end(), 0ull), std::accumulate(x.begin(), x.end(), 0ull));
  });
}

TEST(SimtSound, RaggedTilesInDynamicSharedMemory) {
  const int m = 37, k = 29, d = 19;
  std::vector<float> a(m * k), e(k * d), want(m * d);
  for (int i = 0; i < m * k; ++i) a[std::size_t(i)] = float(i % 13) - 6;
  for (int i = 0; i < k * d; ++i) e[std::size_t(i)] = float(i % 7) - 3;
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < d; ++j)
      for (int q = 0; q < k; ++q)
        want[std::size_t(i * d + j)] += a[std::size_t(i * k + q)] * e[std::size_t(q * d + j)];
  under_many_schedules([&](unsigned) {
    std::vector<float> got(want.size(), -1);
    ASSERT_EQ(tiled_product(a.data(), e.data(), got.data(), m, k, d), cudaSuccess) << last_error;
    EXPECT_EQ(got, want);  // small integers: exact in any order
  });
}

TEST(SimtSound, GridWideBarrier) {
  under_many_schedules([](unsigned) {
    std::vector<float> x(1000), partial(4);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = float(i % 5);
    ASSERT_EQ(normalise(x.data(), int(x.size()), partial.data()), cudaSuccess) << last_error;
    EXPECT_NEAR(std::accumulate(x.begin(), x.end(), 0.0), 1, 1e-4);
  });
}

TEST(SimtSound, ASpinLockMakesProgress) {
  if (hooks->finds_races()) GTEST_SKIP() << "the race checker does not model fences with flags";
  under_many_schedules([](unsigned) {
    int lock = 0;
    unsigned count = 0;
    ASSERT_EQ(spin_lock(&lock, &count, 2), cudaSuccess) << last_error;
    EXPECT_EQ(count, 128u);
  });
}

TEST(SimtSound, EveryWarpCollective) {
  std::vector<unsigned> x(32);
  for (unsigned t = 0; t < 32; ++t) x[t] = t * 7 % 13;
  std::vector<std::vector<unsigned>> want(kCollectives, std::vector<unsigned>(32));
  unsigned odd = 0, sum = 0, exclusive = 0, above = 0;
  for (unsigned t = 0; t < 32; ++t) odd |= (x[t] & 1) << t, sum += x[t], exclusive ^= x[t], above += x[t] > 5;
  for (unsigned t = 0; t < 32; ++t) {
    unsigned same = 0;
    for (unsigned o = 0; o < 32; ++o) same |= unsigned(x[o] % 4 == x[t] % 4) << o;
    const unsigned column[kCollectives] = {x[5],
                                           x[t / 8 * 8 + 3],
                                           x[t < 2 ? t : t - 2],
                                           x[t % 16 + 3 < 16 ? t + 3 : t],
                                           x[t ^ 9],
                                           odd,
                                           0,
                                           1,
                                           same,
                                           sum,
                                           unsigned(0 - 8),
                                           unsigned(12 - 8),
                                           exclusive,
                                           above + 1000};
    for (std::size_t k = 0; k < kCollectives; ++k) want[k][t] = column[k];
  }
  under_many_schedules([&](unsigned) {
    std::vector<unsigned> got(32 * kCollectives);
    ASSERT_EQ(collectives(x.data(), got.data()), cudaSuccess) << last_error;
    for (std::size_t k = 0; k < kCollectives; ++k)
      EXPECT_EQ(std::vector<unsigned>(got.begin() + long(32 * k), got.begin() + long(32 * k + 32)), want[k])
          << "collective " << k;
  });
}

TEST(SimtSound, SchedulesDifferInTheOrderOfAtomics) {
  std::mt19937 random(3);
  std::vector<float> x(4096);
  for (auto& v : x) v = float(random()) * 1e-6f;
  std::set<std::uint32_t> sums;
  under_many_schedules([&](unsigned) {
    float sum = 0;
    ASSERT_EQ(float_atomics(x.data(), int(x.size()), &sum), cudaSuccess);
    sums.insert(std::bit_cast<std::uint32_t>(sum));
  });
  EXPECT_GT(sums.size(), 1u) << "seeds change nothing: the sweeps prove nothing";
}

TEST(SimtSound, LaunchShapesAreChecked) {
  std::vector<unsigned> g(2048);
  const auto shape = [&](int blocks, int threads, std::size_t shared) {
    return wrong(Defect::none, g.data(), 0, blocks, threads, shared);
  };
  EXPECT_EQ(shape(1, 1025, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(shape(0, 64, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(shape(1, 0, 0), cudaErrorInvalidConfiguration);
  EXPECT_EQ(shape(1, 64, 48129), cudaErrorInvalidValue);  // with its static KiB: needs cudaFuncSetAttribute
  EXPECT_EQ(shape(1, 64, 48128), cudaSuccess);
  EXPECT_EQ(shape(1, 96, 0), cudaSuccess);
}

/// wrong_kernel, which declares 1 KiB of static shared memory; launched once.
const void* launched_kernel() {
  std::vector<unsigned> g(64);
  EXPECT_EQ(wrong(Defect::none, g.data(), 0, 1, 64, 0), cudaSuccess);
  for (const void* known : launched())
    if (function_name(known).find("wrong_kernel(") != std::string::npos) return known;
  ADD_FAILURE() << "wrong_kernel was not launched";
  return nullptr;
}

TEST(SimtSound, BlocksKeepTheSharedMemoryOfTheirKernelAndOfFunctions) {
  std::vector<std::size_t> sizes;
  for (const Range& r : static_shared_within(launched_kernel())) sizes.push_back(r.bytes);
  EXPECT_EQ(std::count(sizes.begin(), sizes.end(), 1024u), 1) << "its own, not that of a kernel of this file";
  EXPECT_EQ(std::count(sizes.begin(), sizes.end(), 256u), 1) << "of block_sum, which any kernel may call";
  EXPECT_EQ(std::count(sizes.begin(), sizes.end(), 8448u), 0) << "the tiles of the product's kernels";
}

TEST(SimtSound, SharedMemoryBeyondWhatTheGpuHasIsRefused) {
  config.max_shared_opt_in = 99 << 10;
  std::vector<unsigned> g(64);
  const void* kernel = launched_kernel();
  EXPECT_EQ(static_shared_bytes(kernel), 1024u);
  const int most = (99 << 10) - 1024;
  EXPECT_EQ(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most + 1),
            cudaErrorInvalidValue);
  ASSERT_EQ(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most), cudaSuccess);
  const auto launch_with_shared = [&](int bytes) {
    return wrong(Defect::none, g.data(), 0, 1, 64, std::size_t(bytes));
  };
  EXPECT_EQ(launch_with_shared(most), cudaSuccess);
  EXPECT_EQ(launch_with_shared(most + 1), cudaErrorInvalidValue);
  config.max_shared_opt_in = 98 << 10;  // another GPU: what was asked of the first does not help
  EXPECT_EQ(launch_with_shared(most), cudaErrorInvalidValue);
  int blocks = -1;
  EXPECT_EQ(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, 64, std::size_t(most)),
            cudaSuccess);
  EXPECT_EQ(blocks, 0);
  ASSERT_EQ(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 0), cudaSuccess);
}

TEST(SimtSound, ACooperativeGridMustFitAtOnce) {
  constexpr int kFits = 4 * 8 * 256;  // multiprocessors, blocks of 256 threads on one, elements of a block
  std::vector<float> x(kFits + 1, 1), partial(64);
  EXPECT_EQ(normalise(x.data(), kFits, partial.data()), cudaSuccess) << last_error;
  EXPECT_EQ(normalise(x.data(), kFits + 1, partial.data()), cudaErrorCooperativeLaunchTooLarge);
}

TEST(SimtSound, LaunchedKernelsAreKnownByName) {
  unsigned g[32];
  ASSERT_EQ(wrong(Defect::none, g, 0, 1, 32, 0), cudaSuccess);
  bool seen = false;
  for (const void* kernel : launched())
    seen |= function_name(kernel).find("wrong_kernel(") != std::string::npos;
  EXPECT_TRUE(seen);
}

}  // namespace
}  // namespace simt::samples
