#include "pipeline/offset/weight_fit.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>
#include <span>

#include "host/error.hpp"
#include "pipeline/offset/held_out.hpp"
#include "pipeline/offset/ladder.hpp"
#include "tests/stage_helpers.hpp"

namespace aloft {
namespace {

using namespace stages;
using offset::fit_weights;
using offset::losses_at;
using offset::ModelTerms;
using offset::WeightFit;

/// Positions of a log-linear model of known weights: features at random, `next` drawn from the model.
struct Synthetic {
  std::vector<float> base, features;  ///< [vocab], [terms][n][vocab]
  std::vector<std::uint32_t> next;
  std::size_t terms, n;

  Synthetic(std::size_t positions, std::size_t vocab, const std::vector<double>& weights, unsigned seed)
      : base(vocab), features(positions * weights.size() * vocab), terms(weights.size()), n(positions) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    for (float& x : base) x = 0.5F * normal(random);
    for (float& x : features) x = normal(random);
    for (std::size_t k = 0; k < n; ++k) {
      std::vector<double> p(vocab);
      for (std::size_t j = 0; j < vocab; ++j) p[j] = std::exp(logit(k, j, weights));
      next.push_back(static_cast<std::uint32_t>(std::discrete_distribution<int>(p.begin(), p.end())(random)));
    }
  }
  [[nodiscard]] float& feature(std::size_t t, std::size_t k, std::size_t j) {
    return features[(t * n + k) * base.size() + j];
  }
  [[nodiscard]] double logit(std::size_t k, std::size_t j, const std::vector<double>& w) const {
    double z = static_cast<double>(base[j]);
    for (std::size_t t = 0; t < terms; ++t)
      z += w[t] * static_cast<double>(features[(t * n + k) * base.size() + j]);
    return z;
  }
  [[nodiscard]] double loss(const std::vector<double>& w) const {
    double sum = 0;
    for (std::size_t k = 0; k < next.size(); ++k) {
      double all = 0;
      for (std::size_t j = 0; j < base.size(); ++j) all += std::exp(logit(k, j, w));
      sum += std::log(all) - logit(k, next[k], w);
    }
    return sum / static_cast<double>(next.size());
  }
};

/// The same as products: of features with unit vectors.
struct OnDevice {
  Bench b{"cpu"};
  FloatMatrix contexts, classes;
  Buffer<std::uint32_t> next;
  ModelTerms terms;

  explicit OnDevice(const Synthetic& s) : terms{s.base, {}, {}} {
    Device& device = b.ctx.device();
    const auto vocab = static_cast<std::int64_t>(s.base.size());
    std::vector<float> unit(s.base.size() * s.base.size());
    for (std::size_t j = 0; j < s.base.size(); ++j) unit[j * s.base.size() + j] = 1;
    const auto matrix = [&](const std::vector<float>& x, std::int64_t rows, std::int64_t batch) {
      FloatMatrix out(device, rows, vocab, batch);
      device.upload(out.data.data(), x.data(), x.size() * sizeof(float));
      return out;
    };
    contexts = matrix(s.features, static_cast<std::int64_t>(s.n), static_cast<std::int64_t>(s.terms));
    classes = matrix(unit, vocab, 1);
    next = to_device(device, std::span(s.next));
  }
  [[nodiscard]] SoftmaxEvidence evidence() const { return {contexts.view(), classes.view(), next.data()}; }
  [[nodiscard]] std::vector<WeightFit> fit(std::vector<std::vector<double>> start, double tolerance = 1e-7) {
    return fit_weights(b.ctx, evidence(), terms, std::move(start), tolerance);
  }
  [[nodiscard]] double loss(const std::vector<double>& w) {
    return losses_at(b.ctx, evidence(), terms, {w})[0].loss;
  }
};

TEST(WeightFit, LossIsTheMeanNegativeLogLikelihood) {
  const Synthetic s(700, 7, {1, -0.5}, 1);  // more positions than one call takes
  OnDevice on(s);
  for (const auto& w : {std::vector{0.0, 0.0}, {1.0, 2.0}, {-3.0, 0.1}}) {
    const WeightFit at = losses_at(on.b.ctx, on.evidence(), on.terms, {w})[0];
    EXPECT_NEAR(at.loss, s.loss(w), 1e-6);
    ASSERT_EQ(at.losses.size(), 700u);
    double mean = 0;
    for (const double x : at.losses) mean += x / 700;
    EXPECT_NEAR(mean, at.loss, 1e-12);
  }
}

TEST(WeightFit, FindsTheWeightsThatMadeTheData) {
  const std::vector<double> truth{0.9, 0.4, -0.3};
  const Synthetic s(6000, 12, truth, 2);
  const WeightFit fit = OnDevice(s).fit({{0, 0, 0}})[0];
  for (std::size_t t = 0; t < truth.size(); ++t) EXPECT_NEAR(fit.weights[t], truth[t], 0.06) << t;
  EXPECT_NEAR(fit.loss, s.loss(fit.weights), 1e-6);
}

TEST(WeightFit, TheGradientIsZeroWhereItEnds) {
  const Synthetic s(700, 9, {0.7, 1.5}, 3);
  const WeightFit fit = OnDevice(s).fit({{0.1, 0.1}})[0];
  for (std::size_t t = 0; t < 2; ++t) {
    auto up = fit.weights, down = fit.weights;
    up[t] += 1e-4;
    down[t] -= 1e-4;
    EXPECT_NEAR((s.loss(up) - s.loss(down)) / 2e-4, 0, 2e-5) << t;
    EXPECT_GT(s.loss(up), fit.loss - 1e-6);
    EXPECT_GT(s.loss(down), fit.loss - 1e-6);
  }
}

TEST(WeightFit, ATolerantFitSaysTheLossThatItsLastStepReaches) {
  const Synthetic s(2000, 9, {0.7, -0.4}, 7);
  OnDevice on(s);
  const WeightFit exact = on.fit({{0, 0}})[0];
  for (const double tolerance : {1e-2, 1e-3, 1e-4}) {
    const WeightFit fit = on.fit({{0, 0}}, tolerance)[0];
    EXPECT_NEAR(fit.loss, s.loss(fit.weights), std::pow(tolerance, 1.5) + 1e-6) << tolerance;
    EXPECT_NEAR(fit.loss, exact.loss, std::pow(tolerance, 1.5) + 1e-6) << tolerance;
  }
}

TEST(WeightFit, ComesBackFromFarAway) {
  const Synthetic s(500, 9, {0.7}, 4);
  OnDevice on(s);
  const double near = on.fit({{0.5}})[0].weights[0];
  for (const WeightFit& far : on.fit({{-8}, {8}}))  // where a full Newton step overshoots
    EXPECT_NEAR(far.weights[0], near, 1e-3);
}

TEST(WeightFit, EveryModelHasItsOwnScaleAndShift) {
  const Synthetic s(400, 5, {0.8}, 9);
  OnDevice on(s);
  on.terms.scale = {1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 1, 2, 3, 1, 2};  // as it is; twice; by class
  on.terms.shift = {0, 0, 0, 0, 0, 3, 3, 3, 3, 3, 0, 0, 1, 0, -1};
  const auto fits = on.fit({{0.1}, {0.1}, {0.1}});
  EXPECT_NEAR(fits[1].weights[0], fits[0].weights[0] / 2, 1e-4);
  EXPECT_NEAR(fits[1].loss, fits[0].loss, 1e-6);  // what all classes share, softmax does not see
  Synthetic other = s;
  for (std::size_t k = 0; k < s.n; ++k)
    for (std::size_t j = 0; j < 5; ++j) {
      float& f = other.feature(0, k, j);
      f = on.terms.scale[10 + j] * f - on.terms.shift[10 + j];
    }
  EXPECT_NEAR(fits[2].loss, other.loss(fits[2].weights), 1e-6);
  EXPECT_NEAR(fits[2].weights[0], OnDevice(other).fit({{0.1}})[0].weights[0], 1e-4);
}

TEST(WeightFit, TermsThatSayTheSameShareTheWeight) {
  Synthetic s(600, 9, {0.8, 0}, 5);
  for (std::size_t k = 0; k < s.n; ++k)
    for (std::size_t j = 0; j < 9; ++j) s.feature(1, k, j) = s.feature(0, k, j);
  const WeightFit both = OnDevice(s).fit({{0.1, 0.1}})[0];
  EXPECT_TRUE(std::isfinite(both.weights[0]) && std::isfinite(both.weights[1]));
  EXPECT_NEAR(both.weights[0], both.weights[1], 1e-5);
  EXPECT_NEAR(both.weights[0] + both.weights[1], 0.8, 0.25);
}

TEST(WeightFit, EvidenceThatSaysNothingLeavesTheStart) {
  Synthetic s(100, 5, {0}, 6);
  std::fill(s.features.begin(), s.features.end(), 0.25F);  // the same for all: softmax does not see it
  const WeightFit fit = OnDevice(s).fit({{0.5}})[0];
  EXPECT_NEAR(fit.weights[0], 0.5, 1e-3);
  EXPECT_NEAR(fit.loss, s.loss({0}), 1e-6);
}

TEST(WeightFit, NeedsAPosition) {
  OnDevice on(Synthetic(1, 2, {1}, 1));
  const SoftmaxEvidence none{on.contexts.view().row_block(0, 0), on.classes.view(), on.next.data()};
  EXPECT_THROW((void)fit_weights(on.b.ctx, none, on.terms, {{1}}, 1e-6), Error);
}

// ---- how many positions, and how sure

TEST(HeldOut, SearchesTakeFewerPositionsForLargeModels) {
  EXPECT_EQ(offset::screening_positions(16, 8), offset::kHoldoutPositions);
  EXPECT_EQ(offset::screening_positions(8192, 512), 1024);
  EXPECT_EQ(offset::screening_positions(100'277, 1536), 512);
}

TEST(HeldOut, TheStandardErrorCountsBlocksNotPositions) {
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  std::vector<double> apart, alike;
  std::vector<std::int64_t> own, block;
  for (std::int64_t b = 0; b < 400; ++b) {
    const double shared = normal(random);
    for (std::int64_t k = 0; k < 16; ++k) {
      apart.push_back(normal(random));
      alike.push_back(shared);
      own.push_back(b * 16 + k);
      block.push_back(b);
    }
  }
  EXPECT_NEAR(offset::standard_error(apart, own), 1 / 80.0, 0.001);
  EXPECT_NEAR(offset::standard_error(apart, block), 1 / 80.0, 0.002);
  EXPECT_NEAR(offset::standard_error(alike, block), 1 / 20.0, 0.005);  // 400 things are known, not 6400
  EXPECT_NEAR(offset::standard_error({1, 3}, {0, 1}), std::sqrt(2) / 2, 1e-15);
}

// ---- ladders

TEST(Ladder, StepsAreRoundNumbers) {
  EXPECT_EQ(offset::half_decades(0), 1);
  EXPECT_EQ(offset::half_decades(1), 3);
  EXPECT_EQ(offset::half_decades(4), 100);
  EXPECT_EQ(offset::half_decades(-1), 0.3);
  EXPECT_EQ(offset::half_decades(-4), 0.01);
  EXPECT_EQ(offset::hundred_doubled(3), 800);
  EXPECT_EQ(offset::hundred_doubled(-2), 25);
}

TEST(Ladder, WalksToTheLeastAndAsksOnceForAStep) {
  const offset::Ladder ladder{-4, 8, offset::half_decades};
  for (int least = -6; least <= 10; ++least)  // beyond the ends: the end
    for (int start = -4; start <= 8; ++start) {
      std::map<int, int> asked;
      const int found = walk_down(ladder, start, [&](int step) {
        ++asked[step];
        return std::abs(step - least) + 0.25 * (step > least);
      });
      EXPECT_EQ(found, std::clamp(least, -4, 8));
      for (const auto& [step, times] : asked) {
        EXPECT_EQ(times, 1);
        EXPECT_TRUE(step >= -4 && step <= 8);
      }
      EXPECT_LE(asked.size(), static_cast<std::size_t>(std::abs(found - start)) + 3);
    }
}

}  // namespace
}  // namespace aloft
