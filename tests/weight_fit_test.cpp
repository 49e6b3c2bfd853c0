#include "pipeline/offset/weight_fit.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "host/error.hpp"

namespace aloft {
namespace {

using offset::Evidence;
using offset::fit_weights;
using offset::loss_at;

/// Positions of a log-linear model of known weights: features at random, `next` drawn from the model.
struct Synthetic {
  std::vector<double> base, features;  ///< [vocab], [n][terms][vocab]
  std::vector<std::uint32_t> next;
  std::size_t terms;

  Synthetic(std::size_t n, std::size_t vocab, const std::vector<double>& weights, unsigned seed)
      : base(vocab), features(n * weights.size() * vocab), terms(weights.size()) {
    std::mt19937_64 random(seed);
    std::normal_distribution<double> normal;
    for (double& x : base) x = 0.5 * normal(random);
    for (double& x : features) x = normal(random);
    for (std::size_t k = 0; k < n; ++k) {
      std::vector<double> p(vocab);
      for (std::size_t j = 0; j < vocab; ++j) p[j] = std::exp(logit(k, j, weights));
      next.push_back(static_cast<std::uint32_t>(std::discrete_distribution<int>(p.begin(), p.end())(random)));
    }
  }
  [[nodiscard]] double logit(std::size_t k, std::size_t j, const std::vector<double>& w) const {
    double z = base[j];
    for (std::size_t t = 0; t < terms; ++t) z += w[t] * features[(k * terms + t) * base.size() + j];
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
  [[nodiscard]] Evidence evidence() const {
    return [this](std::int64_t first, std::int64_t count, std::vector<double>& out) {
      const auto size = static_cast<std::ptrdiff_t>(terms * base.size());
      out.assign(features.begin() + first * size, features.begin() + (first + count) * size);
    };
  }
};

TEST(WeightFit, LossIsTheMeanNegativeLogLikelihood) {
  const Synthetic s(300, 7, {1, -0.5}, 1);  // more than one batch of positions
  for (const auto& w : {std::vector{0.0, 0.0}, {1.0, 2.0}, {-3.0, 0.1}})
    EXPECT_NEAR(loss_at(s.base, s.next, s.evidence(), w), s.loss(w), 1e-12);
}

TEST(WeightFit, FindsTheWeightsThatMadeTheData) {
  const std::vector<double> truth{0.9, 0.4, -0.3};
  const Synthetic s(6000, 12, truth, 2);
  const auto fit = fit_weights(s.base, s.next, s.evidence(), {0, 0, 0});
  for (std::size_t t = 0; t < truth.size(); ++t) EXPECT_NEAR(fit.weights[t], truth[t], 0.06) << t;
  EXPECT_NEAR(fit.loss, s.loss(fit.weights), 1e-10);
}

TEST(WeightFit, TheGradientIsZeroWhereItEnds) {
  const Synthetic s(700, 9, {0.7, 1.5}, 3);
  const auto fit = fit_weights(s.base, s.next, s.evidence(), {0.1, 0.1});
  for (std::size_t t = 0; t < 2; ++t) {
    auto up = fit.weights, down = fit.weights;
    up[t] += 1e-4;
    down[t] -= 1e-4;
    EXPECT_NEAR((s.loss(up) - s.loss(down)) / 2e-4, 0, 2e-5) << t;
    EXPECT_GT(s.loss(up), fit.loss - 1e-12);
    EXPECT_GT(s.loss(down), fit.loss - 1e-12);
  }
}

TEST(WeightFit, ComesBackFromFarAway) {
  const Synthetic s(500, 9, {0.7}, 4);
  const double near = fit_weights(s.base, s.next, s.evidence(), {0.5}).weights[0];
  for (const double start : {-8.0, 8.0})  // where a full Newton step overshoots
    EXPECT_NEAR(fit_weights(s.base, s.next, s.evidence(), {start}).weights[0], near, 1e-3) << start;
}

TEST(WeightFit, TermsThatSayTheSameShareTheWeight) {
  Synthetic s(600, 9, {0.8, 0}, 5);
  for (std::size_t k = 0; k < s.next.size(); ++k)
    std::copy_n(&s.features[k * 2 * 9], 9, &s.features[(k * 2 + 1) * 9]);
  const auto both = fit_weights(s.base, s.next, s.evidence(), {0.1, 0.1});
  EXPECT_TRUE(std::isfinite(both.weights[0]) && std::isfinite(both.weights[1]));
  EXPECT_NEAR(both.weights[0], both.weights[1], 1e-6);
  EXPECT_NEAR(both.weights[0] + both.weights[1], 0.8, 0.25);
}

TEST(WeightFit, EvidenceThatSaysNothingLeavesTheStart) {
  Synthetic s(100, 5, {0}, 6);
  std::fill(s.features.begin(), s.features.end(), 0.25);  // the same for all: softmax does not see it
  const auto fit = fit_weights(s.base, s.next, s.evidence(), {0.5});
  EXPECT_NEAR(fit.weights[0], 0.5, 1e-6);
  EXPECT_NEAR(fit.loss, s.loss({0}), 1e-12);
}

TEST(WeightFit, NeedsAPosition) {
  EXPECT_THROW((void)fit_weights({0, 0}, {}, [](auto, auto, auto&) {}, {1}), Error);
}

TEST(WeightFit, PositionsAreFewerForLargeVocabularies) {
  EXPECT_EQ(offset::affordable_positions(16), 4096);
  EXPECT_EQ(offset::affordable_positions(8192), 2048);
  EXPECT_EQ(offset::affordable_positions(1 << 20), 256);
}

}  // namespace
}  // namespace aloft
