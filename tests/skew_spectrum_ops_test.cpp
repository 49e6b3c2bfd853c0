#include <cmath>

#include "host/error.hpp"
#include "tests/conformance.hpp"
#include "tests/decompositions.hpp"

namespace aloft {
namespace {

using namespace conformance;

class SkewSpectrum : public LinearConformance {
 protected:
  /// Checks every promise of the contract for each matrix of the batch; returns the singular values
  /// [batch][m]. known: each item's largest sigma, descending, where Eigen need not be asked.
  Dense check(const std::vector<Dense>& items, const std::vector<std::vector<double>>& known = {}) {
    const auto n = items[0].rows(), m = n / 2;
    const auto batch = std::int64_t(items.size());
    std::vector<Dense> lower = items;
    for (auto& a : lower)
      for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = i; j < n; ++j) a(i, j) = kNan;  // diagonal and upper triangle must not be read
    const Matrix in = upload(lower);
    Matrix left = unwritten(m, n, batch), right = unwritten(m, n, batch);
    Matrix sigma = unwritten(batch, m), alone = unwritten(batch, m);
    ops.skew_spectrum(in.cview(), sigma.data.data(), left.view(), right.view());
    ops.skew_spectrum(in.cview(), alone.data.data(), {nullptr, m, n, batch}, {nullptr, m, n, batch});
    const Dense got = download(sigma), got_alone = download(alone);
    for (std::int64_t b = 0; b < batch; ++b) {
      const Dense& a = items[std::size_t(b)];
      Eigen::VectorXd all = Eigen::VectorXd::Zero(n);
      if (known.empty())
        all = oracle::singular_values(a);
      else
        for (std::size_t k = 0; k < known[std::size_t(b)].size(); ++k)
          all(std::int64_t(2 * k)) = all(std::int64_t(2 * k + 1)) = known[std::size_t(b)][k];
      const double tolerance = 1e-12 * (n > 0 && all.size() > 0 ? all(0) : 0);
      const Dense l = download(left, b), r = download(right, b);
      Dense rows(2 * m, n);
      rows << l, r;
      for (std::int64_t k = 0; k < m; ++k) {
        EXPECT_NEAR(got(b, k), all(2 * k), tolerance) << "n=" << n << " plane " << k;
        EXPECT_NEAR(got(b, k), all(2 * k + 1), tolerance) << "n=" << n << " plane " << k;
        EXPECT_NEAR(got_alone(b, k), all(2 * k), tolerance);
        EXPECT_GE(got(b, k), 0);
        EXPECT_LE(got(b, k), got(b, std::max<std::int64_t>(0, k - 1)));
      }
      EXPECT_LE(distance_from_identity(rows * rows.transpose()), 1e-12 * double(n)) << "n=" << n;
      const Dense back = l.transpose() * got.row(b).asDiagonal() * r;
      EXPECT_LE((back - back.transpose() - a).stableNorm(), 1e-12 * a.stableNorm()) << "n=" << n;
    }
    return got;
  }
  static Dense antisymmetric(const Dense& g) { return (g - g.transpose()) / 2; }
  /// Q diag(blocks [0 s; −s 0]) Qᵀ; odd n leaves one direction in the kernel.
  static Dense with_planes(const std::vector<double>& sigma, std::int64_t n, unsigned seed) {
    Dense t = Dense::Zero(n, n);
    for (std::size_t k = 0; k < sigma.size(); ++k) {
      const auto i = std::int64_t(2 * k);
      t(i, i + 1) = sigma[k], t(i + 1, i) = -sigma[k];
    }
    const Dense q = oracle::orthogonal_factor(random_dense(n, n, seed));
    return antisymmetric(q * t * q.transpose());
  }
};

TEST_P(SkewSpectrum, RandomMatricesOfEverySmallSize) {
  for (int n = 1; n <= 36; ++n) check({antisymmetric(random_dense(n, n, 10u + unsigned(n)))});
}

TEST_P(SkewSpectrum, RandomBatchesAcrossBlockEdges) {
  for (const int n : {63, 64, 65, 95, 96, 97, 127, 128, 129, 257})
    check({antisymmetric(random_dense(n, n, 50)), 1e5 * antisymmetric(random_dense(n, n, 51))});
}

TEST_P(SkewSpectrum,
       BatchOfTheLargestModels) {  // cuSOLVER's batched solver takes 16 MiB of complex numbers each
  const int n = on_a_gpu(GetParam()) ? 1024 : 130;
  std::vector<Dense> items;
  std::vector<std::vector<double>> known;
  for (unsigned b = 0; b < 2; ++b) {
    known.emplace_back();
    for (int k = 0; k < n / 2; ++k) known.back().push_back((1 + b) / (1.0 + 0.01 * k));
    items.push_back(with_planes(known.back(), n, 80 + b));
  }
  check(items, known);
}

TEST_P(SkewSpectrum, TwoByTwoByHand) {
  Dense a(2, 2);
  a << 0, 3, -3, 0;
  EXPECT_NEAR(check({a})(0, 0), 3, 3e-12);
}

TEST_P(SkewSpectrum, OneByOneAndNothingHaveNoPlanes) {
  const Matrix one = upload(Dense::Zero(1, 1));
  Matrix sigma = unwritten(1, 1), side = unwritten(0, 1);
  EXPECT_NO_THROW(ops.skew_spectrum(one.cview(), sigma.data.data(), side.view(), side.view()));
  EXPECT_TRUE(std::isnan(download(sigma)(0, 0)));  // nothing to write
  Matrix nothing(*backend.device, 0, 0);
  EXPECT_NO_THROW(ops.skew_spectrum(nothing.cview(), sigma.data.data(), nothing.view(), nothing.view()));
}

TEST_P(SkewSpectrum, ZeroMatrixStillGivesOrthonormalPlanes) {
  for (const int n : {2, 3, 32, 65}) EXPECT_EQ(check({Dense::Zero(n, n)}).norm(), 0);
}

TEST_P(SkewSpectrum, RepeatedSingularValues) {
  for (const int n : {8, 9, 64, 65, 100}) {
    check({with_planes(std::vector<double>(std::size_t(n / 2), 2.0), n, 60)});
    check({with_planes(std::vector<double>(std::size_t(n / 4), 2.0), n, 61)});  // half of them zero
  }
}

TEST_P(SkewSpectrum, DeficientRankAndHugeRange) {
  for (const int n : {33, 64, 129}) {
    std::vector<double> falling;
    for (int k = 0; k < n / 2; ++k) falling.push_back(std::pow(10.0, -12.0 * k / (n / 2 - 1)));
    check({with_planes(falling, n, 62)});
    check({with_planes({5.0}, n, 63)});
    check({with_planes({1.0, 1e-12}, n, 64)});
  }
}

TEST_P(SkewSpectrum, RankTwoOfEverySmallSize) {
  for (int n = 2; n <= 36; ++n) check({with_planes({0.7}, n, 66)});
}

TEST_P(SkewSpectrum, GradedBelowRoundingError) {
  for (const int n : {16, 33, 64, 129}) {
    std::vector<double> falling, steps;  // to 1e-16, σ by σ and in clusters of equal ones
    for (int k = 0; k < n / 2; ++k) {
      falling.push_back(std::pow(10.0, -16.0 * k / (n / 2 - 1)));
      steps.push_back(std::pow(10.0, -4.0 * (5 * k / (n / 2))));
    }
    const std::vector<double> pairs{1, 1, 1e-15, 1e-15};
    check({with_planes(falling, n, 67), with_planes(steps, n, 68), with_planes(pairs, n, 69)},
          {falling, steps, pairs});
  }
}

TEST_P(SkewSpectrum, NearlyEqualSingularValues) {
  for (const int n : {12, 65}) {
    std::vector<double> close;
    for (int k = 0; k < n / 2; ++k) close.push_back(1 + 1e-14 * k);
    check({with_planes(close, n, 70)});
  }
}

TEST_P(SkewSpectrum, OrientationOfThePlanes) {  // a = σ(l rᵀ − r lᵀ) with l = e_j, r = e_k, up to a rotation
  for (const int n : {2, 3, 5, 33}) {
    Dense a = Dense::Zero(n, n);
    a(n - 1, 0) = 2.5, a(0, n - 1) = -2.5;
    check({a, -a});
  }
}

TEST_P(SkewSpectrum, BatchesMayMixMagnitudesAndZeros) {
  const Dense a = antisymmetric(random_dense(33, 33, 71));
  check({a, Dense::Zero(33, 33), 1e-200 * a, with_planes({1e200}, 33, 72)});
}

TEST_P(SkewSpectrum, TinyAndHugeMagnitudes) {
  const Dense a = antisymmetric(random_dense(40, 40, 65));
  check({1e-150 * a, 1e150 * a});
}

TEST_P(SkewSpectrum, AlreadyTridiagonalOrBlockDiagonal) {
  for (const int n : {5, 40, 41}) {
    Dense chain = Dense::Zero(n, n), blocks = Dense::Zero(n, n);
    for (int i = 0; i + 1 < n; ++i) {
      chain(i + 1, i) = 1, chain(i, i + 1) = -1;
      if (i % 2 == 0) blocks(i + 1, i) = i + 1, blocks(i, i + 1) = -(i + 1);
    }
    check({chain, blocks});
  }
}

TEST_P(SkewSpectrum, RefusesWhatIsNotFinite) {
  Dense a = Dense::Zero(6, 6);
  a(5, 0) = a(4, 2) = kNan;
  const Matrix in = upload(std::vector<Dense>{Dense::Zero(6, 6), a, a});
  Matrix sigma = unwritten(3, 3);
  try {
    ops.skew_spectrum(in.cview(), sigma.data.data(), {nullptr, 3, 6, 3}, {nullptr, 3, 6, 3});
    FAIL() << "accepted a NaN";
  } catch (const NumericError& e) {
    EXPECT_NE(std::string(e.what()).find("skew_spectrum: entry (4, 2) of matrix 1 is nan"), std::string::npos)
        << e.what();
  }
}

TEST_P(SkewSpectrum, BitsDoNotDependOnTheWorkers) {
  std::vector<Dense> items;
  for (unsigned b = 0; b < 4; ++b) items.push_back(antisymmetric(random_dense(70, 70, 70 + b)));
  const Matrix a = upload(items);
  expect_same_bits_for_any_worker_count([&] {
    Matrix left = unwritten(35, 70, 4), right = unwritten(35, 70, 4), sigma = unwritten(4, 35);
    ops.skew_spectrum(a.cview(), sigma.data.data(), left.view(), right.view());
    return aloft::to_host(left.data);
  });
  const Matrix alone = upload(antisymmetric(random_dense(301, 301, 75)));  // the workers share one matrix
  expect_same_bits_for_any_worker_count([&] {
    Matrix left = unwritten(150, 301), right = unwritten(150, 301), sigma = unwritten(1, 150);
    ops.skew_spectrum(alone.cview(), sigma.data.data(), left.view(), right.view());
    return aloft::to_host(right.data);
  });
}

INSTANTIATE_TEST_SUITE_P(Each, SkewSpectrum, ::testing::ValuesIn(available_backends()), backend_name);

}  // namespace
}  // namespace aloft
