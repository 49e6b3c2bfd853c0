#include "host/chunk_feed.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "host/error.hpp"
#include "kernels/ops.hpp"

namespace aloft {
namespace {

/// Ids first, first + 1, ... in reads of random size.
class Numbers final : public TokenSource {
 public:
  Numbers(TokenId first, std::size_t n, unsigned seed) : next_(first), left_(n), random_(seed) {}
  std::size_t read(std::span<TokenId> out) override {
    const std::size_t n = std::min(left_, 1 + random_() % out.size());
    std::iota(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(n), next_);
    next_ += static_cast<TokenId>(n);
    left_ -= n;
    return n;
  }
  Position position() const override { return {}; }

 private:
  TokenId next_;
  std::size_t left_;
  std::mt19937 random_;
};

class ChunkFeedOn : public ::testing::TestWithParam<std::string> {
 protected:
  Backend backend = make_backend(GetParam());
  Device& device = *backend.device;

  /// Appends a pass over ids first.. to `all` by work that only the device's queue orders.
  void collect(ChunkFeed& feed, Buffer<TokenId>& all, std::size_t at, TokenId first, std::size_t n) {
    Numbers source(first, n, static_cast<unsigned>(n) + first);
    feed.begin_pass(source);
    while (const auto chunk = feed.next()) {
      const auto owned = static_cast<std::size_t>(chunk->n_from);
      ASSERT_EQ(chunk->host.size(), owned + static_cast<std::size_t>(chunk->halo));
      ASSERT_EQ(chunk->host.front(), first);
      ASSERT_EQ(chunk->host.back(), first + chunk->host.size() - 1);
      device.copy(all.data() + at, chunk->ids, chunk->host.size_bytes());
      at += owned;
      first += static_cast<TokenId>(owned);
    }
    feed.end_pass();
  }
};

TEST_P(ChunkFeedOn, EveryTokenReachesTheDeviceWithoutTheHostWaiting) {
  constexpr TokenId kPass = 5000;
  std::mt19937 rng(3);
  for (const std::int64_t chunk : {1, 7, 100, 999, 5000, 6000}) {
    if (chunk == 1 && GetParam() != "cpu") continue;
    for (int slots = chunk < 100 ? ChunkRing::kSlots : 1; slots <= ChunkRing::kSlots; ++slots) {
      ChunkFeed feed(device, chunk, 8, slots);
      auto all = zeros<TokenId>(device, 3 * std::size_t{kPass} + 8);
      for (const TokenId pass : {0u, 1u, 2u})
        collect(feed, all, std::size_t{pass} * kPass, pass * kPass, kPass);
      const auto got = to_host(all);
      for (std::size_t k = 0; k < 3 * std::size_t{kPass}; ++k)
        ASSERT_EQ(got[k], k) << "chunks of " << chunk << ", " << slots << " at once";
    }
  }
}

TEST_P(ChunkFeedOn, APassMayBeGivenUpAnywhere) {
  for (int taken = 0; taken < 5; ++taken) {
    ChunkFeed feed(device, 50, 4);
    auto all = zeros<TokenId>(device, 2000);
    {
      Numbers source(0, 100'000, 1);
      feed.begin_pass(source);
      for (int k = 0; k < taken; ++k) device.copy(all.data(), feed.next()->ids, 50 * sizeof(TokenId));
      feed.end_pass();
    }
    collect(feed, all, 0, 0, 1000);
    const auto got = to_host(all);
    for (std::size_t k = 0; k < 1000; ++k) ASSERT_EQ(got[k], k) << taken << " chunks of the pass before";
  }
}

TEST_P(ChunkFeedOn, SharedMemoryIsNotCopied) {
  ChunkFeed feed(device, 50, 4);
  Numbers source(0, 500, 1);
  feed.begin_pass(source);
  const auto chunk = feed.next();
  EXPECT_EQ(chunk->ids == chunk->host.data(), device.shares_host_memory());
  feed.end_pass();
}

TEST_P(ChunkFeedOn, ALimitOfTheDevicesMemoryHolds) {
  if (device.shares_host_memory()) {
    EXPECT_EQ(device.memory().total, 0u);
  } else {
    EXPECT_GT(device.memory().free, 0u);
    EXPECT_LE(device.memory().free, device.memory().total);
  }
  device.limit_memory(1000);
  auto first = std::make_unique<Buffer<char>>(device, 600);
  EXPECT_THROW(Buffer<char>(device, 401), ResourceError);
  { const Buffer<char> fits(device, 400); }
  first.reset();
  const Buffer<char> all(device, 1000);
}

INSTANTIATE_TEST_SUITE_P(Each, ChunkFeedOn, ::testing::ValuesIn(available_backends()),
                         [](const auto& backend_info) { return backend_info.param; });

}  // namespace
}  // namespace aloft
