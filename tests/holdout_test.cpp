#include "pipeline/counts/holdout.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "host/error.hpp"
#include "tests/offset_helpers.hpp"

// The slice against its description (blocks of 64 at even distances), and counts without it against counting
// every pair of the text that has no end in it.

namespace aloft {
namespace {

using namespace stages;

std::vector<TokenId> passed_through(HoldoutSource& source, std::size_t at_a_time) {
  std::vector<TokenId> out, buffer(at_a_time);
  while (const std::size_t n = source.read(buffer))
    out.insert(out.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(n));
  return out;
}

Holdout slice_of(const std::vector<TokenId>& ids, std::int32_t context, std::size_t source_reads = 97,
                 std::size_t at_a_time = 1000) {
  StreamSource stream(ids, source_reads);
  HoldoutSource held(stream, context);
  EXPECT_EQ(passed_through(held, at_a_time) == ids, true) << "the stream must pass unchanged";
  return held.take();
}

/// Where the blocks of a stream of n tokens begin: multiples of a distance that is 512 or, as long as there
/// would be more than 512 of them, twice as much.
std::vector<std::size_t> block_starts(std::size_t n) {
  for (std::size_t distance = 512;; distance *= 2) {
    std::vector<std::size_t> out;
    for (std::size_t at = distance; at < n; at += distance) out.push_back(at);
    if (out.size() <= 512) return out;
  }
}

void expect_slice(const Holdout& h, const std::vector<TokenId>& ids, std::int64_t context) {
  const auto starts = block_starts(ids.size());
  ASSERT_EQ(h.blocks.size(), starts.size());
  std::int64_t next = 0;
  for (std::size_t b = 0; b < starts.size(); ++b) {
    const Holdout::Block& block = h.blocks[b];
    const auto left = static_cast<std::int64_t>(ids.size() - starts[b]);
    EXPECT_EQ(block.first, next);
    EXPECT_EQ(block.before, context);
    EXPECT_EQ(block.own, std::min<std::int64_t>(64, left));
    EXPECT_EQ(block.after, std::clamp<std::int64_t>(left - 64, 0, context));
    const std::int64_t all = block.before + block.own + block.after;
    const auto from = ids.begin() + static_cast<std::ptrdiff_t>(starts[b]) - context;
    EXPECT_EQ(std::equal(from, from + all, h.ids.begin() + next), true) << "block " << b;
    next += all;
  }
  EXPECT_EQ(static_cast<std::size_t>(next), h.ids.size());
}

TEST(HoldoutSlice, IsWhereItIsSaidToBe) {
  for (const std::size_t n : {513ul, 530ul, 576ul, 580ul, 1023ul, 1025ul, 5000ul}) {
    SCOPED_TRACE(n);
    const auto ids = dependent_text(n, 50, 1, 40);
    expect_slice(slice_of(ids, 8), ids, 8);
  }
}

TEST(HoldoutSlice, ThinsOutSoThatItNeverGrowsBeyond512Blocks) {
  for (const std::size_t n : {512ul * 513, 512ul * 513 + 1, 512ul * 514 + 3, 1024ul * 512 + 70, 600'000ul}) {
    SCOPED_TRACE(n);
    const auto ids = dependent_text(n, 300, 2);
    expect_slice(slice_of(ids, 3, 10'000, 8192), ids, 3);
  }
}

TEST(HoldoutSlice, DoesNotDependOnHowTheStreamIsRead) {
  const auto ids = dependent_text(300'000, 90, 3, 100);
  const Holdout whole = slice_of(ids, 8, 1 << 20, 1 << 20);
  expect_slice(whole, ids, 8);
  for (const auto& [source, reader] : {std::pair{1, 7}, {5, 1}, {511, 513}, {64, 64}, {1'000'000, 4097}}) {
    const Holdout h = slice_of(ids, 8, static_cast<std::size_t>(source), static_cast<std::size_t>(reader));
    EXPECT_EQ(h.ids == whole.ids, true) << source << " " << reader;
    EXPECT_EQ(h.blocks.size(), whole.blocks.size());
  }
}

TEST(HoldoutSlice, ShortStreamsHaveNone) {
  for (const std::size_t n : {0ul, 1ul, 64ul, 511ul, 512ul}) {
    const std::vector<TokenId> ids(n, 1);
    const Holdout h = slice_of(ids, 8);
    EXPECT_TRUE(h.blocks.empty() && h.ids.empty()) << n;
  }
}

TEST(HoldoutSlice, IsTheFirstPassOfWhateverStrategyCounts) {
  Bench b{"cpu"};
  const auto ids = dependent_text(9000, 40, 5, 60);
  for (const CountStrategy strategy : {CountStrategy::dense, CountStrategy::striped, CountStrategy::sparse})
    for (const std::int64_t chunk : {100, 100000}) {
      CountParams p;
      p.vocab = 40;
      p.max_lag = 5;
      p.strategy = strategy;
      p.chunk_tokens = chunk;
      p.stripe_rows = 15;
      const Counts c = count_transitions(b.ctx, p, [&] { return std::make_unique<StreamSource>(ids); });
      expect_slice(c.holdout, ids, 5);
    }
}

// ---- counts without the slice ----

std::set<std::size_t> own_places(std::size_t n) {
  std::set<std::size_t> out;
  for (const std::size_t start : block_starts(n))
    for (std::size_t k = start; k < std::min(n, start + 64); ++k) out.insert(k);
  return out;
}

/// Pairs of the text, those with an end in one of `places` left out.
Dense pairs_apart_from(const std::vector<TokenId>& ids, std::int64_t vocab, std::size_t lag,
                       const std::set<std::size_t>& places) {
  Dense out = Dense::Zero(vocab, vocab);
  for (std::size_t k = 0; k + lag < ids.size(); ++k) {
    if (places.count(k) + places.count(k + lag) > 0) continue;
    if (std::count(ids.begin() + static_cast<std::ptrdiff_t>(k),
                   ids.begin() + static_cast<std::ptrdiff_t>(k + lag + 1), kDocumentBreak) > 0)
      continue;
    out(ids[k], ids[k + lag]) += 1;
  }
  return out;
}

Dense dense_counts(const CountCsr& csr) {
  Dense out = Dense::Zero(csr.rows, csr.cols);
  const auto offsets = to_host(csr.row_offsets), values = to_host(csr.values);
  const auto columns = to_host(csr.columns);
  for (std::int64_t i = 0; i < csr.rows; ++i)
    for (auto e = offsets[static_cast<std::size_t>(i)]; e < offsets[static_cast<std::size_t>(i) + 1]; ++e) {
      EXPECT_GT(values[e], 0u) << "a stored zero";
      out(i, columns[e]) += static_cast<double>(values[e]);
    }
  return out;
}

void expect_without(const std::vector<TokenId>& ids, std::int64_t vocab, std::int32_t max_lag,
                    const std::string& backend = "cpu") {
  Bench b{backend};
  const Counts all = counted(b.ctx, ids, vocab, max_lag), rest = without_holdout(b.ctx, all, max_lag);
  const auto own = own_places(ids.size());
  std::vector<std::uint64_t> unigram(static_cast<std::size_t>(vocab));
  std::uint64_t tokens = 0;
  for (std::size_t k = 0; k < ids.size(); ++k)
    if (ids[k] != kDocumentBreak && own.count(k) == 0) ++unigram[ids[k]], ++tokens;
  EXPECT_EQ(rest.unigram, unigram);
  EXPECT_EQ(rest.tokens, tokens);
  EXPECT_EQ(rest.vocab, vocab);
  EXPECT_EQ(rest.max_lag, max_lag);
  EXPECT_TRUE(rest.holdout.blocks.empty());
  ASSERT_EQ(rest.lags.size(), static_cast<std::size_t>(max_lag));
  for (std::size_t lag = 1; lag <= rest.lags.size(); ++lag) {
    const Dense wanted = pairs_apart_from(ids, vocab, lag, own);
    EXPECT_EQ((dense_counts(rest.lags[lag - 1]) - wanted).cwiseAbs().maxCoeff(), 0) << "lag " << lag;
    EXPECT_EQ(static_cast<double>(rest.pairs[lag - 1]), wanted.sum());
    const Dense held_out = dense_counts(holdout_counts(b.ctx, all, max_lag).lags[lag - 1]);
    EXPECT_EQ((held_out + wanted - pairs_apart_from(ids, vocab, lag, {})).cwiseAbs().maxCoeff(), 0);
  }
}

TEST(WithoutHoldout, EqualsCountingThePairsThatDoNotTouchTheSlice) {
  expect_without(dependent_text(6000, 40, 1), 40, 8);
  expect_without(dependent_text(6000, 40, 2, 25), 40, 8);    // many documents
  expect_without(dependent_text(3000, 400, 3, 3), 400, 6);   // hardly anything but breaks
  expect_without(dependent_text(5000, 30, 4, 200), 30, 64);  // lags as long as a block
}

TEST(WithoutHoldout, AtTheEndOfTheStreamToo) {
  for (const std::size_t n : {513ul, 515ul, 576ul, 577ul, 583ul, 1030ul})
    expect_without(dependent_text(n, 25, static_cast<unsigned>(n), 50), 25, 8);
}

TEST(WithoutHoldout, NothingHeldOutChangesNothing) { expect_without(dependent_text(400, 20, 6), 20, 4); }

class HoldoutCounts : public PerBackend {};

TEST_P(HoldoutCounts, CountsAreThoseOfTheRestOfTheText) {
  expect_without(dependent_text(1500, 40, 10, 25), 40, 3, GetParam());
}

TEST_P(HoldoutCounts, SlicesOfOtherCountsAreRefused) {
  Bench b{GetParam()};
  const auto ids = dependent_text(2000, 40, 7);
  Counts counts = counted(b.ctx, ids, 40, 3);
  counts.holdout.ids.assign(counts.holdout.ids.size(), 39);  // pairs that the text does not have
  EXPECT_THROW((void)without_holdout(b.ctx, counts, counts.max_lag), InputError);
  Counts other = counted(b.ctx, ids, 40, 3);
  for (std::size_t k = 0; k < other.holdout.ids.size(); k += 2) other.holdout.ids[k] = 0;
  EXPECT_THROW((void)without_holdout(b.ctx, other, other.max_lag), InputError);
}

ALOFT_ON_EACH_BACKEND(HoldoutCounts);

// ---- positions ----

TEST(HoldoutPositions, AreTheSliceTokensWithAWholeContext) {
  for (const std::uint64_t document : {0, 20}) {
    const auto ids = dependent_text(5000, 40, 8, document);
    const Holdout h = slice_of(ids, 8);
    for (const std::int32_t lags : {1, 4, 8}) {
      std::vector<TokenId> context, next;
      for (const std::size_t k : own_places(ids.size())) {
        const auto from = ids.begin() + static_cast<std::ptrdiff_t>(k) - lags;
        if (std::count(from, from + lags + 1, kDocumentBreak) > 0) continue;
        for (std::int32_t n = 1; n <= lags; ++n) context.push_back(ids[k - static_cast<std::size_t>(n)]);
        next.push_back(ids[k]);
      }
      const HoldoutPositions all = holdout_positions(h, lags, 1 << 20);
      EXPECT_EQ(all.lags, lags);
      EXPECT_EQ(all.next, next);
      EXPECT_EQ(all.context, context);
      ASSERT_EQ(all.block.size(), next.size());
      std::map<std::int64_t, std::int64_t> of_block;
      for (std::size_t k = 0; k < next.size(); ++k) {
        ++of_block[all.block[k]];
        EXPECT_GE(all.block[k], all.block[k == 0 ? 0 : k - 1]);
      }
      EXPECT_EQ(of_block.size(), h.blocks.size());
      for (const auto& [block, positions] : of_block) EXPECT_LE(positions, h.blocks[std::size_t(block)].own);

      const HoldoutPositions some = holdout_positions(h, lags, 37);
      ASSERT_EQ(some.size(), 37);
      std::size_t at = 0;  // each is one of `all`, in its order, and they span the whole slice
      for (std::size_t k = 0; k < 37; ++k) {
        const std::size_t i = k * next.size() / 37;
        EXPECT_GE(i, at);
        EXPECT_EQ(some.next[k], next[i]);
        EXPECT_EQ(some.block[k], all.block[i]);
        EXPECT_EQ(some.context[k * static_cast<std::size_t>(lags)],
                  context[i * static_cast<std::size_t>(lags)]);
        at = i;
      }
    }
  }
}

TEST(HoldoutPositions, NoSliceHasNone) { EXPECT_EQ(holdout_positions(Holdout{}, 4, 100).size(), 0); }

}  // namespace
}  // namespace aloft
