#include <gtest/gtest.h>

#include <Eigen/Core>
#include <cmath>
#include <random>

#include "kernels/spectral_measures.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/model/model.hpp"
#include "pipeline/recipes/invariants.hpp"
#include "pipeline/recipes/recipe.hpp"
#include "pipeline/recipes/spectral_profile.hpp"
#include "tests/compose_helpers.hpp"
#include "tests/decompositions.hpp"
#include "tests/per_backend.hpp"
#include "tests/recipe_helpers.hpp"

// Oracle: every figure is measured again on the float weights with Eigen's eigenvalues and formulas written
// out here; the Marchenko–Pastur law is compared with sampled matrices.

namespace aloft {
namespace {

Eigen::VectorXd singular(const Rows& m) { return oracle::singular_values(m); }

double kl(Eigen::VectorXd p, Eigen::VectorXd q) {
  const Eigen::Index n = std::min(p.size(), q.size());
  p = p.head(n).eval() / p.head(n).sum();
  q = q.head(n).eval() / q.head(n).sum();
  return (p.array() * (p.array() / q.array()).log()).sum();
}

double eff(Eigen::VectorXd s) {
  s = (s / s.sum()).cwiseMax(1e-300).eval();
  return std::exp(-(s.array() * s.array().log()).sum());
}

double top(const Eigen::VectorXd& s, Eigen::Index k) { return s.head(k).squaredNorm() / s.squaredNorm(); }

Eigen::VectorXd sampled_mp(Eigen::Index rows, Eigen::Index cols) {
  std::mt19937 random(1);
  std::normal_distribution<double> gauss;
  Eigen::VectorXd mean = Eigen::VectorXd::Zero(std::min(rows, cols));
  for (int i = 0; i < 8; ++i)
    mean += singular(Rows::NullaryExpr(rows, cols, [&] { return gauss(random); })) /
            (8 * std::sqrt(static_cast<double>(std::max(rows, cols))));
  return mean;
}

double asymmetry(const Rows& w) { return (w - w.transpose()).norm() / w.norm(); }

double measure(const LayerComposition& layer, const std::string& name) {
  for (const auto& [key, value] : layer.measures)
    if (key == name) return value;
  ADD_FAILURE() << "no measure " << name;
  return 0;
}

ModelShape shape_of(std::int64_t layers, std::int64_t heads, std::int64_t kv, std::int64_t head_dim,
                    std::int64_t d) {
  ModelShape s;
  s.layers = layers, s.heads = heads, s.kv_heads = kv, s.head_dim = head_dim, s.d_model = d;
  s.context = 8, s.vocab = 8, s.rotary_dim = head_dim;
  return s;
}

class Invariants : public PerBackend {
 protected:
  Backend backend = make_backend(GetParam());
  NoProgress progress;
  Context ctx{backend, progress};
  ComposeParams params;
  Invariants() { params.recipe = "invariants"; }
  Composition run(const ModelShape& s) { return compose(ctx, params, s, nullptr, nullptr); }
};

TEST_P(Invariants, AllFiveHoldOnTheFloatWeightsAtTheSizeOfThePaper) {
  const ModelShape s = shape_of(8, 8, 8, 32, 256);
  const Composition c = run(s);
  const Eigen::VectorXd mp = sampled_mp(256, 256);
  double mean_rank = 0, mean_top = 0;
  for (std::size_t l = 0; l < 8; ++l) {
    SCOPED_TRACE(l);
    const LayerHeads& w = c.weights.layers[l];
    const Rows q = as_rows(w.query, 256), k = as_rows(w.key, 256), v = as_rows(w.value, 256);
    const Eigen::VectorXd sq = singular(q), sk = singular(k), sv = singular(v),
                          product = singular(q * k.transpose());
    EXPECT_LT(kl(sq, sk), 0.0014);
    EXPECT_LT(kl(sv, mp), 0.009);
    EXPECT_GT(kl(sq, sv), 0.015);
    EXPECT_NEAR(v.norm() / q.norm(), 0.35 + 0.56 * static_cast<double>(l) / 7, 1e-6);
    EXPECT_GE(eff(product), 19.1);
    EXPECT_LE(eff(product), 54);
    EXPECT_GE(top(product, 8), 0.69);
    EXPECT_LE(top(product, 8), 0.92);
    EXPECT_GE(asymmetry(attention_kernel(w, s)), 1.37);
    EXPECT_LE(asymmetry(attention_kernel(w, s)), 1.44);
    EXPECT_NEAR(q.norm(), 0.02 * 256, 1e-5);
    mean_rank += eff(product) / 8;
    mean_top += top(product, 8) / 8;
    // The report says what the oracle finds.
    EXPECT_NEAR(measure(c.layers[l], "query_value_kl"), kl(sq, sv), 1e-6);
    EXPECT_NEAR(measure(c.layers[l], "query_key_kl"), kl(sq, sk), 1e-6);
    EXPECT_NEAR(measure(c.layers[l], "value_mp_kl"), kl(sv, mp), 2e-3);
    EXPECT_NEAR(measure(c.layers[l], "query_norm"), q.norm(), 1e-9);
    EXPECT_NEAR(measure(c.layers[l], "value_query_ratio"), v.norm() / q.norm(), 1e-9);
    EXPECT_NEAR(measure(c.layers[l], "product_effective_rank"), eff(product), 1e-3);
    EXPECT_NEAR(measure(c.layers[l], "product_top_energy"), top(product, 8), 1e-6);
    EXPECT_NEAR(measure(c.layers[l], "kernel_asymmetry"), asymmetry(attention_kernel(w, s)), 1e-6);
  }
  const double reported[3][3] = {{0, 38.4, 0.781}, {1, 19.2, 0.919}, {6, 53.6, 0.698}};  // the paper's layers
  for (const auto& [layer, rank, energy] : reported) {
    const LayerComposition& got = c.layers[static_cast<std::size_t>(layer)];
    EXPECT_NEAR(measure(got, "product_effective_rank"), rank, 0.01);
    EXPECT_NEAR(measure(got, "product_top_energy"), energy, 1e-4);
  }
  EXPECT_NEAR(mean_rank, 36.2, 3);  // the paper's means
  EXPECT_NEAR(mean_top, 0.817, 0.03);
}

TEST_P(Invariants, OtherShapesKeepTheProportions) {
  for (const ModelShape& s :
       {shape_of(3, 4, 4, 16, 64), shape_of(3, 8, 2, 16, 128), shape_of(2, 4, 1, 16, 64),
        shape_of(2, 4, 4, 32, 64), shape_of(1, 2, 2, 32, 96)}) {
    const Composition c = run(s);
    const std::int64_t rank = std::min(s.kv_heads * s.head_dim, s.d_model);
    for (std::size_t l = 0; l < c.layers.size(); ++l) {
      SCOPED_TRACE(testing::Message() << "d " << s.d_model << " kv " << s.kv_heads << " layer " << l);
      const LayerHeads& w = c.weights.layers[l];
      const Rows q = as_rows(w.query, s.d_model), k = as_rows(w.key, s.d_model),
                 v = as_rows(w.value, s.d_model);
      const Eigen::VectorXd product = singular(q * k.transpose());
      EXPECT_LT(kl(singular(q), singular(k)), 0.0014);
      const auto k_top = static_cast<Eigen::Index>(measure(c.layers[l], "product_top"));
      EXPECT_EQ(k_top, std::max<std::int64_t>(1, std::llround(static_cast<double>(rank) / 32)));
      EXPECT_NEAR(top(product, k_top), measure(c.layers[l], "product_top_energy_target"), 1e-3);
      EXPECT_GE(top(product, k_top), 0.69);
      EXPECT_LE(top(product, k_top), 0.92);
      const double rank_share = eff(product) / static_cast<double>(rank);
      EXPECT_GT(rank_share, rank >= 32 ? 19.1 / 256 : 0.05);
      EXPECT_LT(rank_share,
                rank >= 32 ? 54.0 / 256 : 0.3);  // one value of 16 holds the energy: fewer shapes are left
      EXPECT_GE(asymmetry(attention_kernel(w, s)), 1.37);
      EXPECT_LE(asymmetry(attention_kernel(w, s)), 1.44);
      const double depth = s.layers == 1 ? 0 : static_cast<double>(l) / static_cast<double>(s.layers - 1);
      EXPECT_NEAR(v.norm() / q.norm(), 0.35 + 0.56 * depth, 1e-6);
      EXPECT_NEAR(q.norm(), 0.02 * std::sqrt(static_cast<double>(q.size())), 1e-5);
      EXPECT_NEAR(k.norm(), 0.02 * std::sqrt(static_cast<double>(k.size())), 1e-5);
    }
  }
}

TEST_P(Invariants, StrengthIsTheKernelsNorm) {
  const ModelShape s = shape_of(1, 4, 4, 16, 64);
  const double plain = attention_kernel(run(s).weights.layers[0], s).norm();
  params.strength = 9;
  const Composition strong = run(s);
  EXPECT_NEAR(attention_kernel(strong.weights.layers[0], s).norm() / plain, 9, 1e-5);
  EXPECT_NEAR(as_rows(strong.weights.layers[0].query, 64).norm(), 3 * 0.02 * 64, 1e-5);
  EXPECT_NEAR(measure(strong.layers[0], "kernel_norm_ratio"), 9, 2.5);  // in expectation over the directions
}

TEST_P(Invariants, TheFirstLayersNumbersAreThoseOfADeeperModel) {
  const Composition two = run(shape_of(2, 4, 4, 8, 32)), five = run(shape_of(5, 4, 4, 8, 32));
  EXPECT_EQ(two.weights.layers[0].query, five.weights.layers[0].query);  // depth 0 in both
  EXPECT_EQ(two.weights.layers[0].key, five.weights.layers[0].key);
}

TEST(SpectralProfile, MarchenkoPasturIsWhatLargeRandomMatricesHave) {
  for (const auto& [rows, cols] : {std::pair{200, 200}, {100, 300}, {300, 100}}) {
    const std::vector<double> law = marchenko_pastur(rows, cols);
    const Eigen::VectorXd sample = sampled_mp(rows, cols);
    ASSERT_EQ(static_cast<Eigen::Index>(law.size()), sample.size());
    for (Eigen::Index i = 0; i < sample.size(); ++i)
      EXPECT_NEAR(law[static_cast<std::size_t>(i)], sample[i], 0.02);
  }
}

TEST(SpectralProfile, KlOfProfilesDoneByHand) {
  EXPECT_DOUBLE_EQ(profile_kl({3, 1}, {6, 2}), 0);
  EXPECT_DOUBLE_EQ(profile_kl({3, 1}, {6, 2, 9}), 0);  // over what both have
  EXPECT_NEAR(profile_kl({3, 1}, {1, 1}), 0.75 * std::log(1.5) + 0.25 * std::log(0.5), 1e-15);
}

TEST(SpectralProfile, TheFitMeetsBothTargetsOrTheTopEnergyAndTheNearestRank) {
  for (const std::int64_t n : {64, 256, 1024}) {
    const double size = static_cast<double>(n) / 256;
    for (const auto& [rank, energy] : {std::pair{38.4, 0.781}, {19.2, 0.919}, {53.6, 0.698}}) {
      const recipes::ProfileTarget target{rank * size, energy, n / 32};
      const std::vector<double> s = recipes::fit_profile(target, n).sigma(n);
      EXPECT_NEAR(eff(Eigen::Map<const Eigen::VectorXd>(s.data(), n)), rank * size, 1e-6 * n);
      EXPECT_NEAR(top(Eigen::Map<const Eigen::VectorXd>(s.data(), n), n / 32), energy, 1e-6);
      EXPECT_TRUE(std::is_sorted(s.rbegin(), s.rend()));
    }
  }
  // 8 values with 70% of the energy in the first cannot have an effective rank of 1: the sharpest there is.
  const std::vector<double> s = recipes::fit_profile({1, 0.7, 1}, 8).sigma(8);
  EXPECT_NEAR(top(Eigen::Map<const Eigen::VectorXd>(s.data(), 8), 1), 0.7, 1e-6);
  const double ratio = s[1] / s[0];
  EXPECT_NEAR(s[5] / s[4], ratio, 1e-3);  // geometric
}

ALOFT_ON_EACH_BACKEND(Invariants);

}  // namespace
}  // namespace aloft
