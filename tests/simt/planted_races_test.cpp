#include <gtest/gtest.h>

#include <random>
#include <set>

#include "host/cuda_device.hpp"
#include "host/error.hpp"
#include "kernels/ops.hpp"
#include "tests/simt/cudart.hpp"
#include "tests/simt/engine.hpp"

// Copies of product kernels with one planted race each (plant_race.cmake), compiled in namespaces of their
// own. The race checker has to report every one, and has nothing to say about the kernels as they are.

namespace aloft {

#define ALOFT_DECLARE_COUNTING(space)                                                                       \
  namespace space {                                                                                         \
  void count_tokens(TokenChunk chunk, std::uint64_t* unigram, std::int64_t vocab, cudaStream_t stream);     \
  void count_pairs_bytes(TokenChunk chunk, DenseCounts counts, std::uint16_t* packed, cudaStream_t stream); \
  void count_pairs_global(TokenChunk chunk, DenseCounts counts, cudaStream_t stream);                       \
  }
ALOFT_DECLARE_COUNTING(cuda)
ALOFT_DECLARE_COUNTING(bytes_clearing)
ALOFT_DECLARE_COUNTING(bytes_plain_increment)
ALOFT_DECLARE_COUNTING(global_loading)
ALOFT_DECLARE_COUNTING(global_next_tile)
ALOFT_DECLARE_COUNTING(tokens_flushing)

namespace {

constexpr std::int64_t kTokens = 20000, kVocab = 30;
constexpr std::int32_t kLags = 2;

class SimtPlantedRaces : public testing::Test {
 protected:
  SimtPlantedRaces() : device(make_cuda_device()) {
    std::mt19937 random(1);
    std::vector<TokenId> ids(kTokens);
    for (auto& id : ids) id = TokenId(random() % kVocab);
    ids_ = to_device<const TokenId>(*device, ids);
    table_ = zeros<std::uint32_t>(*device, kLags * kVocab * kVocab);
    unigram_ = zeros<std::uint64_t>(*device, kVocab);
    packed_ = Buffer<std::uint16_t>(*device, kTokens);
    device->synchronize();
  }
  ~SimtPlantedRaces() override { simt::runtime.reset(0); }

  /// What the checker says of each of eight schedules; "" where nothing.
  template <class Launch>
  std::set<std::string> reports(const Launch& launch) {
    std::set<std::string> out;
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
      simt::config.seed = seed;
      simt::last_error.clear();
      try {
        launch();
        device->synchronize();
        out.insert("");
      } catch (const DeviceError&) {
        out.insert(simt::last_error);
      }
      simt::runtime.reset(seed);
    }
    return out;
  }
  template <class Launch>
  void expect_race(const Launch& launch, const std::string& file) {
    bool reported = false;
    for (const std::string& report : reports(launch))
      reported |=
          report.find(file) != std::string::npos && (report.find("data race") != std::string::npos ||
                                                     report.find("uninitialised") != std::string::npos);
    EXPECT_TRUE(reported) << "the planted race of " << file << " was not reported";
  }

  TokenChunk chunk() const { return {ids_.data(), kTokens, 0}; }
  DenseCounts counts() { return {table_.data(), kLags, kVocab, 0, kVocab}; }
  std::unique_ptr<CudaDevice> device;
  Buffer<TokenId> ids_;
  Buffer<std::uint32_t> table_;
  Buffer<std::uint64_t> unigram_;
  Buffer<std::uint16_t> packed_;
};

TEST_F(SimtPlantedRaces, ByteCountersWithoutTheBarrierAfterClearing) {
  expect_race([&] { bytes_clearing::count_pairs_bytes(chunk(), counts(), packed_.data(), device->stream()); },
              "bytes_clearing.cu:");
}
TEST_F(SimtPlantedRaces, ByteCountersWithAPlainIncrement) {
  expect_race(
      [&] { bytes_plain_increment::count_pairs_bytes(chunk(), counts(), packed_.data(), device->stream()); },
      "bytes_plain_increment.cu:");
}
TEST_F(SimtPlantedRaces, GlobalCountersWithoutTheBarrierAfterLoading) {
  expect_race([&] { global_loading::count_pairs_global(chunk(), counts(), device->stream()); },
              "global_loading.cu:");
}
TEST_F(SimtPlantedRaces, GlobalCountersWithoutTheBarrierBeforeTheNextTile) {
  simt::config.resident = 1;
  expect_race([&] { global_next_tile::count_pairs_global(chunk(), counts(), device->stream()); },
              "global_next_tile.cu:");
}
TEST_F(SimtPlantedRaces, TokenCountersWithoutTheBarrierBeforeFlushing) {
  expect_race([&] { tokens_flushing::count_tokens(chunk(), unigram_.data(), kVocab, device->stream()); },
              "tokens_flushing.cu:");
}
TEST_F(SimtPlantedRaces, TheKernelsAsTheyAreHaveNone) {
  const std::set<std::string> silence{""};
  EXPECT_EQ(reports([&] { cuda::count_pairs_bytes(chunk(), counts(), packed_.data(), device->stream()); }),
            silence);
  EXPECT_EQ(reports([&] { cuda::count_pairs_global(chunk(), counts(), device->stream()); }), silence);
  EXPECT_EQ(reports([&] { cuda::count_tokens(chunk(), unigram_.data(), kVocab, device->stream()); }),
            silence);
}

}  // namespace
}  // namespace aloft
