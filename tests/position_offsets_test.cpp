#include "pipeline/offset/position_offsets.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "host/error.hpp"
#include "pipeline/model/rotary.hpp"

namespace aloft {
namespace {

/// Σ_i w_i cos((D − offset) θ_i).
double response(const std::vector<double>& w, const std::vector<double>& theta, std::int64_t distance) {
  double sum = 0;
  for (std::size_t i = 0; i < w.size(); ++i) sum += w[i] * std::cos(static_cast<double>(distance) * theta[i]);
  return sum;
}

/// Softmax over all distances, written out.
double share_of(const std::vector<double>& w, const std::vector<double>& theta, std::int64_t offset,
                std::int64_t context, double sharpness) {
  double all = 0;
  for (std::int64_t d = 0; d < context; ++d) all += std::exp(sharpness * response(w, theta, d - offset));
  return std::exp(sharpness * response(w, theta, 0)) / all;
}

TEST(PositionOffsets, FrequenciesAreThoseOfRope) {
  const auto theta = rope_frequencies(8, 10000);
  ASSERT_EQ(theta.size(), 4u);
  EXPECT_EQ(theta[0], 1);
  EXPECT_NEAR(theta[1], 0.1, 1e-15);
  EXPECT_NEAR(theta[3], 0.001, 1e-17);
  EXPECT_NEAR(rope_frequencies(2, 500000)[0], 1, 0);
}

TEST(PositionOffsets, ReferenceMassesOfRopeHeads) {
  const auto theta = rope_frequencies(32, 10000);
  for (const auto& [context, mass] : {std::pair{64, 0.93}, {128, 0.88}, {512, 0.74}})
    for (const std::int64_t offset : {0, 1, 3}) {
      const OffsetPattern p = offset_pattern(theta, offset, context);
      EXPECT_NEAR(mass_on_offset(p, theta, offset, context, 15), mass, 0.02) << context << " " << offset;
      EXPECT_NEAR(share_of(p.weights, theta, offset, context, 15),
                  mass_on_offset(p, theta, offset, context, 15), 1e-12);
    }
  const OffsetPattern uniform{std::vector<double>(16, 1.0 / 16), 0};
  EXPECT_NEAR(mass_on_offset(uniform, theta, 1, 64, 15), 0.42, 0.01);
}

TEST(PositionOffsets, TheMarginIsWhatTheWeightsReach) {
  for (const std::int64_t context : {2, 17, 64, 300})
    for (const std::int64_t offset : {0L, 1L, context - 1}) {
      const auto theta = rope_frequencies(16, 1000);
      const OffsetPattern p = offset_pattern(theta, offset, context);
      EXPECT_NEAR(std::accumulate(p.weights.begin(), p.weights.end(), 0.0), 1, 1e-12);
      EXPECT_GE(*std::min_element(p.weights.begin(), p.weights.end()), 0);
      double highest = -2;
      for (std::int64_t d = 0; d < context; ++d)
        if (d != offset) highest = std::max(highest, response(p.weights, theta, d - offset));
      EXPECT_NEAR(p.margin, 1 - highest, 1e-9) << context << " " << offset;
      // and no frequency alone, nor all of them evenly, does better
      std::vector<double> even(theta.size(), 1 / static_cast<double>(theta.size()));
      double of_even = -2;
      for (std::int64_t d = 0; d < context; ++d)
        if (d != offset) of_even = std::max(of_even, response(even, theta, d - offset));
      EXPECT_GE(p.margin, 1 - of_even - 1e-12);
    }
}

TEST(PositionOffsets, AContextOfOneTokenHasNothingToTellApart) {
  const OffsetPattern p = offset_pattern(rope_frequencies(8, 10000), 0, 1);
  EXPECT_EQ(p.weights, std::vector<double>(4, 0.25));
  EXPECT_EQ(mass_on_offset(p, rope_frequencies(8, 10000), 0, 1, 15), 1);
}

TEST(PositionOffsets, RecencyFallsSmoothlyBeyondItsRange) {
  const auto theta = rope_frequencies(64, 10000);
  for (const std::int64_t context : {64, 256, 1024})
    for (const double range : {1.0, 2.0, 4.0}) {
      const OffsetPattern p = recency_pattern(theta, range, context);
      EXPECT_NEAR(std::accumulate(p.weights.begin(), p.weights.end(), 0.0), 1, 1e-12);
      for (std::size_t i = 0; i < theta.size(); ++i)
        EXPECT_EQ(p.weights[i] > 0, theta[i] * range <= 1 && theta[i] * static_cast<double>(context) >= 0.5);
      // averaged over octaves, so that the fastest frequency's ripple does not count
      double before = 1;
      for (std::int64_t from = 1; 2 * from <= context; from *= 2) {
        double mean = 0;
        for (std::int64_t d = from; d < 2 * from; ++d)
          mean += response(p.weights, theta, d) / static_cast<double>(from);
        EXPECT_LT(mean, before) << context << " " << range << " " << from;
        before = mean;
      }
      EXPECT_NEAR(p.margin, 1 - before, 1e-12);
    }
}

TEST(PositionOffsets, RecencyTakesTheNearestFrequencyWhereNoneFits) {
  EXPECT_EQ(recency_pattern({1, 0.01}, 4, 16).weights, (std::vector<double>{1, 0}));
  EXPECT_EQ(recency_pattern({1e-6, 1e-4}, 2, 64).weights, (std::vector<double>{0, 1}));
}

TEST(PositionOffsets, ContextsBeyondTheLongestArePlannedAsIt) {
  const auto theta = rope_frequencies(8, 10000);
  EXPECT_EQ(offset_pattern(theta, 2, 8192).weights, offset_pattern(theta, 2, 1 << 20).weights);
}

TEST(PositionOffsets, TheOffsetLiesWithinTheContext) {
  EXPECT_THROW((void)offset_pattern(rope_frequencies(8, 10000), 8, 8), Error);
  EXPECT_THROW((void)offset_pattern({}, 0, 8), Error);
}

TEST(PositionOffsets, TableFrequenciesTellAllDistancesApart) {
  for (const std::int64_t count : {2, 4, 8}) {
    const auto theta = table_frequencies(count, 64);
    ASSERT_EQ(theta.size(), static_cast<std::size_t>(count));
    EXPECT_TRUE(std::is_sorted(theta.begin(), theta.end()));
    EXPECT_GT(theta.front(), 0);
    EXPECT_LT(theta.back(), std::numbers::pi);
    EXPECT_EQ(theta, table_frequencies(count, 64));
  }
  const auto all = table_frequencies(2, 8, 64);
  ASSERT_EQ(all.size(), 7u);
  for (const std::int64_t count : {2, 4, 8})
    EXPECT_EQ(all[static_cast<std::size_t>(count - 2)], table_frequencies(count, 64));
  // Chosen ones beat as many of RoPE's, and more of them tell more apart.
  const auto four = table_frequencies(4, 64), eight = table_frequencies(8, 64),
             rope = rope_frequencies(16, 10000);
  const double of_four = offset_pattern(four, 0, 64).margin, of_eight = offset_pattern(eight, 0, 64).margin;
  EXPECT_GT(of_eight, offset_pattern(rope, 0, 64).margin);
  EXPECT_GT(of_eight, of_four);
  EXPECT_GT(mass_on_offset(offset_pattern(eight, 1, 64), eight, 1, 64, 15), 0.97);
}

}  // namespace
}  // namespace aloft
