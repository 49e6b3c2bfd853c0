#include "kernels/rank_expansion.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "host/error.hpp"

namespace aloft {
namespace {

double pr(const std::vector<double>& s) {
  double second = 0, fourth = 0;
  for (const double x : s) second += x * x, fourth += x * x * x * x;
  return second * second / fourth;
}

double norm(const std::vector<double>& s) {
  double sum = 0;
  for (const double x : s) sum += x * x;
  return std::sqrt(sum);
}

double cosine(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum / norm(a) / norm(b);
}

/// Like the sample corpus: a few large modes and a long tail.
std::vector<double> corpus_like(int modes) {
  std::vector<double> s;
  for (int k = 0; k < modes; ++k) s.push_back(7.5 * std::pow(k + 1, -1.2));
  return s;
}

TEST(RankExpansion, EveryTargetIsHitByBothMethods) {
  for (const int multiplicity : {1, 2})
    for (const auto& sigma :
         {corpus_like(128), std::vector<double>{3, 1, 1e-3, 1e-6}, std::vector<double>{2, 1.999, 0.5}}) {
      const double now = multiplicity * pr(sigma), rank = multiplicity * static_cast<double>(sigma.size());
      std::vector<double> targets{now, rank, rank * (1 - 1e-9), now * (1 + 1e-9)};
      for (double f = 0; f < 1; f += 0.04) targets.push_back(now + f * (rank - now));
      for (double f = 0.2; f < 1; f += 0.2) targets.push_back(multiplicity + f * (now - multiplicity));
      for (const double target : targets) {
        const auto p = pareto(sigma, target, multiplicity), t = temper(sigma, target, multiplicity);
        EXPECT_NEAR(multiplicity * pr(p.sigma) / target, 1, 1e-9) << target;
        EXPECT_NEAR(multiplicity * pr(t.sigma) / target, 1, 1e-9) << target;
        EXPECT_NEAR(norm(p.sigma) / norm(sigma), 1, 1e-12);
        EXPECT_NEAR(norm(t.sigma) / norm(sigma), 1, 1e-12);
        EXPECT_GE(cosine(p.sigma, sigma), cosine(t.sigma, sigma) - 1e-12) << target;
        EXPECT_TRUE(std::is_sorted(p.sigma.rbegin(), p.sigma.rend()));
        EXPECT_EQ(p.tempered, target < now * (1 - 1e-12)) << target;
      }
    }
}

TEST(RankExpansion, TemperedSpectraArePowers) {
  const std::vector<double> sigma{4, 2, 1, 0};
  const auto spread = temper(sigma, 2.5, 1), sharp = temper(sigma, 1.1, 1), flat = temper(sigma, 3, 1);
  EXPECT_LT(spread.parameter, 1);
  EXPECT_GT(sharp.parameter, 1);
  EXPECT_EQ(flat.parameter, 0);
  for (const auto& r : {spread, sharp, flat}) {
    EXPECT_NEAR(std::log(r.sigma[0] / r.sigma[1]), r.parameter * std::log(2.0), 1e-12);
    EXPECT_NEAR(std::log(r.sigma[1] / r.sigma[2]), r.parameter * std::log(2.0), 1e-12);
    EXPECT_EQ(r.sigma[3], 0);
  }
}

TEST(RankExpansion, ParetoSolvesItsCubicOnBothBranches) {
  const auto sigma = corpus_like(64);
  bool seen_positive = false, seen_negative = false;
  for (double target = 5; target < 64; target += 3) {
    const auto r = pareto(sigma, target, 1);
    (r.parameter > 0 ? seen_positive : seen_negative) = true;
    // σ/σ₁ = ±s + |t| s³ with σ' = c s: recover c from mode 0, then every mode must satisfy the same
    // equation.
    const double sign = r.parameter > 0 ? 1 : -1, t = std::abs(r.parameter);
    double low = 0, high = 1e9;
    for (int i = 0; i < 300; ++i) {
      const double s = (low + high) / 2;
      (sign * s + t * s * s * s < 1 ? low : high) = s;
    }
    for (std::size_t k = 0; k < sigma.size(); ++k) {
      const double s = r.sigma[k] / r.sigma[0] * low;
      EXPECT_NEAR(sign * s + t * s * s * s, sigma[k] / sigma[0], 1e-9) << target << " mode " << k;
    }
  }
  EXPECT_TRUE(seen_positive && seen_negative);
}

TEST(RankExpansion, ParetoIsContinuousAcrossTheCubeRoot) {
  const auto sigma = corpus_like(32);
  std::vector<double> root;
  for (const double s : sigma) root.push_back(std::cbrt(s));
  const double limit = pr(root);
  const auto below = pareto(sigma, limit * (1 - 1e-7), 1), above = pareto(sigma, limit * (1 + 1e-7), 1);
  EXPECT_GT(below.parameter, 0);
  EXPECT_LT(above.parameter, 0);
  for (std::size_t k = 0; k < sigma.size(); ++k) {
    EXPECT_NEAR(below.sigma[k], root[k] * norm(sigma) / norm(root), 1e-5);
    EXPECT_NEAR(above.sigma[k], root[k] * norm(sigma) / norm(root), 1e-5);
  }
}

/// Random spectra on the constraint set, by powers of random vectors: none is closer to σ than pareto's.
TEST(RankExpansion, NothingOnTheConstraintSetIsCloserThanPareto) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> uniform(0, 1);
  std::normal_distribution<double> normal;
  for (const std::size_t n : {2u, 3u, 4u, 6u}) {
    std::vector<double> sigma;
    for (std::size_t k = 0; k < n; ++k) sigma.push_back(std::pow(0.4, static_cast<double>(k)));
    for (const double fraction : {0.1, 0.5, 0.9}) {
      const double target = pr(sigma) + fraction * (static_cast<double>(n) - pr(sigma));
      const auto best = pareto(sigma, target, 1);
      int tried = 0;
      double closest = 0;
      for (int trial = 0; trial < 1000; ++trial) {
        std::vector<double> x(n);
        const double spread = std::pow(10, -3 * uniform(random));  // near the optimum as well as anywhere
        for (std::size_t k = 0; k < n; ++k)
          x[k] = trial % 2 ? best.sigma[k] * std::exp(spread * normal(random)) : uniform(random) + 1e-6;
        double low = 1e-6, high = 1e6;
        std::vector<double> y(n);
        for (int i = 0; i < 70; ++i) {
          const double alpha = std::sqrt(low * high);
          for (std::size_t k = 0; k < n; ++k)
            y[k] = std::pow(x[k] / *std::max_element(x.begin(), x.end()), alpha);
          (pr(y) > target ? low : high) = alpha;
        }
        if (std::abs(pr(y) / target - 1) > 1e-9) continue;
        ++tried;
        closest = std::max(closest, cosine(y, sigma));
      }
      EXPECT_GT(tried, 300);
      EXPECT_LE(closest, cosine(best.sigma, sigma) + 1e-9) << n << " " << fraction;
      EXPECT_GT(closest,
                cosine(best.sigma, sigma) - 1e-3);  // the sampling comes near, so the bound is not empty
    }
  }
}

TEST(RankExpansion, ZeroModesStayZeroAndBoundTheTarget) {
  const std::vector<double> sigma{3, 2, 1, 1e-13, 0};
  for (const auto& r :
       {pareto(sigma, 5.9, 2), temper(sigma, 5.9, 2), pareto(sigma, 6, 2), temper(sigma, 6, 2)}) {
    EXPECT_GT(r.sigma[2], 0);
    EXPECT_EQ(r.sigma[3], 0);
    EXPECT_EQ(r.sigma[4], 0);
  }
  EXPECT_NEAR(pareto(sigma, 6, 2).sigma[0], pareto(sigma, 6, 2).sigma[2], 1e-12);
  for (const auto expand : {pareto, temper}) {
    EXPECT_THROW((void)expand(sigma, 6.001, 2), UsageError);
    EXPECT_THROW((void)expand(sigma, 1.99, 2), UsageError);
    EXPECT_THROW((void)expand(sigma, 0.99, 1), UsageError);
    EXPECT_THROW((void)expand(sigma, std::nan(""), 1), UsageError);
    EXPECT_THROW((void)expand(std::vector<double>{0, 0}, 1, 1), UsageError);
    EXPECT_THROW((void)expand(std::vector<double>{2, 2, 1}, 1.9, 1), UsageError);  // two equal leading modes
  }
  try {
    (void)pareto(sigma, 7, 2);
    FAIL();
  } catch (const UsageError& e) {
    EXPECT_NE(std::string(e.what()).find("6"), std::string::npos) << e.what();
  }
}

TEST(RankExpansion, FrontierLeavesOutWhatCannotBeReached) {
  const std::vector<double> sigma{3, 2, 1};
  const auto table = frontier(sigma, std::vector<double>{1.5, 4, 6, 7}, 2);
  ASSERT_EQ(table.size(), 2u);
  EXPECT_EQ(table[0].target, 4);
  EXPECT_EQ(table[1].target, 6);
  EXPECT_NEAR(table[1].pareto_cosine, 6 / std::sqrt(14.0 * 3), 1e-12);  // flat
  EXPECT_GE(table[0].pareto_cosine, table[0].temper_cosine);
}

}  // namespace
}  // namespace aloft
