#include "host/chunk_ring.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <random>
#include <stdexcept>
#include <thread>

#include "host/error.hpp"
#include "host/interrupt.hpp"
#include "tests/corpus_helpers.hpp"

namespace aloft {
namespace {

/// Ids 0, 1, 2, ... in reads of random size; fails after `fail_after` of them if that is not negative.
class Counting final : public TokenSource {
 public:
  explicit Counting(std::int64_t n, unsigned seed = 1, std::int64_t fail_after = -1)
      : n_(n), fail_after_(fail_after), random_(seed) {}
  std::size_t read(std::span<TokenId> out) override {
    if (fail_after_ >= 0 && at_ >= fail_after_) throw InputError("broken.bin: at last");
    std::size_t k = 0;
    const std::size_t want = 1 + random_() % out.size();
    for (; k < want && at_ < n_ && at_ != fail_after_; ++k) out[k] = static_cast<TokenId>(at_++);
    return k;
  }
  Position position() const override { return {}; }

 private:
  std::int64_t n_, fail_after_, at_ = 0;
  std::mt19937 random_;
};

/// A ring with its memory, which gives back each chunk at the next call.
class Ring {
 public:
  Ring(TokenSource& source, std::int64_t chunk, std::int32_t halo, int slots = ChunkRing::kSlots)
      : memory_(ChunkRing::memory_tokens(chunk, halo, slots)), ring_(source, chunk, halo, memory_, slots) {}
  std::optional<ChunkRing::Chunk> next() {
    if (out_) ring_.give_back();
    out_ = false;
    auto chunk = ring_.next();
    out_ = chunk.has_value();
    return chunk;
  }
  ChunkRing& operator*() { return ring_; }

 private:
  std::vector<TokenId> memory_;
  ChunkRing ring_;
  bool out_ = false;
};

TEST(ChunkRing, ChunksAndHaloesPartitionTheStream) {
  for (const std::int64_t n : {0, 1, 2, 7, 8, 9, 16, 100, 1000})
    for (const std::int64_t chunk : {1, 2, 3, 8, 100, 999, 1000, 1001})
      for (const std::int32_t halo : {0, 1, 2, 8, 50}) {
        Counting source(n, static_cast<unsigned>(n + chunk + halo));
        Ring ring(source, chunk, halo, 1 + static_cast<int>(n + halo) % ChunkRing::kSlots);
        std::int64_t begin = 0;
        while (const auto got = ring.next()) {
          ASSERT_EQ(got->n_from, std::min(chunk, n - begin)) << n << ' ' << chunk << ' ' << halo;
          ASSERT_EQ(got->halo, std::min<std::int64_t>(halo, n - begin - got->n_from));
          ASSERT_EQ(static_cast<std::int64_t>(got->ids.size()), got->n_from + got->halo);
          for (std::size_t k = 0; k < got->ids.size(); ++k)
            ASSERT_EQ(got->ids[k], static_cast<TokenId>(begin) + static_cast<TokenId>(k));
          begin += got->n_from;
        }
        EXPECT_EQ(begin, n);
        EXPECT_FALSE(ring.next());  // the end stays the end
      }
}

TEST(ChunkRing, AChunkStaysValidUntilTheNextCall) {
  Counting source(1000);
  Ring ring(source, 10, 3);
  for (TokenId begin = 0; const auto chunk = ring.next(); begin += 10) {
    std::this_thread::sleep_for(std::chrono::microseconds(100));  // the thread fills other slots meanwhile
    EXPECT_EQ(chunk->ids.front(), begin);
    EXPECT_EQ(chunk->ids[9], begin + 9);
  }
}

TEST(ChunkRing, EveryChunkThatIsOutStaysValid) {
  Counting source(1000);
  Ring ring(source, 10, 3);
  std::vector<ChunkRing::Chunk> out;
  for (int k = 0; k < ChunkRing::kSlots; ++k) out.push_back(*(*ring).next());
  EXPECT_FALSE((*ring).poll()) << "no slot is left";
  EXPECT_THROW((void)(*ring).next(), Error);
  for (std::size_t k = 0; k < out.size(); ++k) EXPECT_EQ(out[k].ids.front(), 10 * k);
  (*ring).give_back();  // the oldest
  EXPECT_EQ((*ring).next()->ids.front(), 10u * ChunkRing::kSlots);
  EXPECT_EQ(out[1].ids.front(), 10u);
}

TEST(ChunkRing, PollingGivesEveryChunkInTheEnd) {
  Counting source(95);
  Ring ring(source, 10, 3);
  std::int64_t tokens = 0;
  while (tokens < 95) {
    const auto chunk = (*ring).poll();
    if (!chunk) {
      std::this_thread::yield();
      continue;
    }
    EXPECT_EQ(chunk->ids.front(), static_cast<TokenId>(tokens));
    tokens += chunk->n_from;
    (*ring).give_back();
  }
  EXPECT_FALSE((*ring).next());
  EXPECT_FALSE((*ring).poll());
}

TEST(ChunkRing, FailuresOfTheSourceComeOutOfNext) {
  Counting source(1000, 1, 35);
  Ring ring(source, 10, 0);
  for (int k = 0; k < 3; ++k) EXPECT_TRUE(ring.next());
  EXPECT_THROW((void)ring.next(), InputError);
  EXPECT_THROW((void)ring.next(), InputError);  // again, not a silent end
}

TEST(ChunkRing, CanBeAbandonedAtAnyMoment) {
  for (int taken = 0; taken < 6; ++taken) {
    Counting source(1 << 20);
    Ring ring(source, 100, 5);
    for (int k = 0; k < taken; ++k) EXPECT_TRUE(ring.next());
  }
  Counting failing(1000, 1, 0);
  const Ring ring(failing, 10, 0);
}

TEST(ChunkRing, ADestructorDoesNotWaitForASilentPipe) {
  const corpus_tests::Stdin in(std::string(1 << 18, 'x'),
                               false);  // more than the head; then nothing, and no end
  CorpusSpec spec;
  spec.paths = {"-"};
  spec.tokenizer = "bytes";
  const auto corpus = corpus_tests::open(spec);
  const auto source = corpus->open();
  const auto start = std::chrono::steady_clock::now();
  {
    Ring ring(*source, 1 << 20, 8);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST(ChunkRing, AnInterruptReachesTheCallerWaitingForASilentPipe) {
  const corpus_tests::Stdin in(std::string(1 << 18, 'x'), false);
  CorpusSpec spec;
  spec.paths = {"-"};
  spec.tokenizer = "bytes";
  const auto corpus = corpus_tests::open(spec);
  const auto source = corpus->open();
  Ring ring(*source, 1 << 20, 8);
  std::thread signal([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    set_interrupt_requested(true);
  });
  EXPECT_THROW((void)ring.next(), Interrupted);
  signal.join();
  set_interrupt_requested(false);
}

TEST(ChunkRing, RefusesSenselessSizes) {
  Counting source(10);
  std::vector<TokenId> memory(100);
  EXPECT_THROW(ChunkRing(source, 0, 0, memory), Error);
  EXPECT_THROW(ChunkRing(source, 1, -1, memory), Error);
  EXPECT_THROW(ChunkRing(source, 1, 1, memory, 0), Error);
  EXPECT_THROW(ChunkRing(source, 1, 1, memory, ChunkRing::kSlots + 1), Error);
  EXPECT_THROW(ChunkRing(source, 50, 1, memory, 2), Error) << "two slots of 51";
  EXPECT_THROW(ChunkRing(source, 33, 1, memory), Error) << "three slots of 34";
  ChunkRing ring(source, 32, 1, memory);
  EXPECT_THROW(ring.give_back(), Error) << "nothing is out";
}

}  // namespace
}  // namespace aloft
