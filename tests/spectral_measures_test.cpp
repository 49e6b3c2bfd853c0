#include "kernels/spectral_measures.hpp"
#include "tests/decompositions.hpp"

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <cmath>
#include <random>

namespace aloft {
namespace {

TEST(SpectralMeasures, KnownSpectra) {
  const std::vector<double> flat(7, 0.3), one{5, 0, 0}, two_one{2, 1};
  EXPECT_NEAR(participation_ratio(flat), 7, 1e-14);
  EXPECT_NEAR(linear_participation_ratio(flat), 7, 1e-14);
  EXPECT_NEAR(effective_rank(flat), 7, 1e-13);
  EXPECT_NEAR(top_energy(flat, 2), 2.0 / 7, 1e-15);
  EXPECT_DOUBLE_EQ(participation_ratio(one), 1);
  EXPECT_DOUBLE_EQ(effective_rank(one), 1);
  EXPECT_DOUBLE_EQ(participation_ratio(two_one), 25.0 / 17);              // (4+1)²/(16+1)
  EXPECT_DOUBLE_EQ(linear_participation_ratio(two_one), 9.0 / 5);         // (2+1)²/(4+1)
  EXPECT_NEAR(effective_rank(two_one), 3 / std::pow(4, 1.0 / 3), 1e-14);  // exp(ln 3 − ⅔ ln 2)
  EXPECT_DOUBLE_EQ(top_energy(two_one, 1), 0.8);
  EXPECT_DOUBLE_EQ(top_energy(two_one, 8), 1);
}

TEST(SpectralMeasures, ZeroAndExtremeScales) {
  const std::vector<double> zero(3, 0.0);
  const auto m = measure_spectrum(zero);
  EXPECT_EQ(m.pr_energy + m.pr_linear + m.effective_rank + m.top8_energy + m.top32_energy, 0);
  EXPECT_EQ(participation_ratio({}), 0);
  for (const double scale : {1e-200, 1e200}) {
    const std::vector<double> s{2 * scale, scale};
    EXPECT_NEAR(participation_ratio(s), 25.0 / 17, 1e-14) << scale;
    EXPECT_NEAR(top_energy(s, 1), 0.8, 1e-15) << scale;
  }
}

TEST(SpectralMeasures, PairsDoubleTheParticipationRatio) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (const std::int64_t d : {2, 3, 16, 17}) {
    Eigen::MatrixXd a(d, d);
    for (std::int64_t i = 0; i < d * d; ++i) a.data()[i] = uniform(random);
    const Eigen::MatrixXd skew = (a - a.transpose()) / 2;
    const Eigen::VectorXd sigma = oracle::singular_values(skew);
    std::vector<double> planes;
    for (std::int64_t k = 0; k < d / 2; ++k) planes.push_back(sigma[2 * k]);
    const auto full = paired(planes, d);
    ASSERT_EQ(full.size(), static_cast<std::size_t>(d));
    for (std::int64_t k = 0; k < d; ++k) EXPECT_NEAR(full[static_cast<std::size_t>(k)], sigma[k], 1e-12);
    // From the matrix alone: (Σσ²)²/Σσ⁴ = ‖A‖⁴/‖AᵀA‖².
    const double oracle = std::pow(skew.squaredNorm(), 2) / (skew.transpose() * skew).squaredNorm();
    EXPECT_NEAR(participation_ratio(full), oracle, 1e-11);
    EXPECT_NEAR(2 * participation_ratio(planes), oracle, 1e-11);
    EXPECT_GE(oracle, 2 - 1e-12);
  }
}

TEST(SpectralMeasures, Cosines) {
  EXPECT_NEAR(spectral_cosine(std::vector<double>{1, 2, 3}, std::vector<double>{6, 4, 2}), 1, 1e-15);
  EXPECT_NEAR(spectral_cosine(std::vector<double>{1, 0}, std::vector<double>{1, 1}), std::sqrt(0.5), 1e-15);
  EXPECT_NEAR(matrix_cosine(std::vector<double>{1, 2, 3, 4}, std::vector<double>{-1, -2, -3, -4}), -1, 1e-15);
  EXPECT_NEAR(matrix_cosine(std::vector<double>{1, 1}, std::vector<double>{1, -1}), 0, 1e-15);
  EXPECT_EQ(matrix_cosine(std::vector<double>{0, 0}, std::vector<double>{1, -1}), 0);
}

TEST(SpectralMeasures, SubspaceOverlapFromPrincipalAngles) {
  std::mt19937_64 random(2);
  std::normal_distribution<double> normal;
  const std::int64_t k = 3, n = 9;
  const auto basis = [&] {
    Eigen::MatrixXd g(n, k);
    for (std::int64_t i = 0; i < n * k; ++i) g.data()[i] = normal(random);
    return Eigen::MatrixXd(oracle::svd(g).u);  // column-major = rows of [k, n]
  };
  const Eigen::MatrixXd a = basis(), b = basis();
  const Eigen::VectorXd cosines = oracle::singular_values(a.transpose() * b);
  const auto flat = [&](const Eigen::MatrixXd& m) { return std::vector<double>(m.data(), m.data() + n * k); };
  EXPECT_NEAR(subspace_overlap(flat(a), flat(b), k, n), cosines.squaredNorm() / k, 1e-13);
  const Eigen::MatrixXd g = Eigen::MatrixXd::Random(k, k);
  const Eigen::MatrixXd rotated = a * oracle::svd(g).u;
  EXPECT_NEAR(subspace_overlap(flat(a), flat(rotated), k, n), 1, 1e-13);  // blind to the basis
}

TEST(SpectralMeasures, AsymmetryAgainstTheMatrix) {
  Eigen::Matrix3d m;
  m << 1, 5, -2, 0, 3, 4, 7, 1, 0;
  const Eigen::Matrix3d skew = (m - m.transpose()) / 2;
  const Asymmetry a = asymmetry({m.squaredNorm(), m.cwiseProduct(m.transpose()).sum()});
  EXPECT_NEAR(a.ratio, skew.norm() / m.norm(), 1e-15);
  EXPECT_NEAR(a.energy, skew.squaredNorm() / m.squaredNorm(), 1e-15);
  EXPECT_NEAR(asymmetry({4, 0}).ratio, std::sqrt(0.5), 1e-15);  // the null of a random matrix
  EXPECT_EQ(asymmetry({4, 4}).ratio, 0);
  EXPECT_EQ(asymmetry({4, -4}).ratio, 1);
  EXPECT_EQ(asymmetry({0, 0}).ratio, 0);
}

}  // namespace
}  // namespace aloft
