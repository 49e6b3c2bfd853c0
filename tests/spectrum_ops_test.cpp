#include <Eigen/Eigenvalues>
#include <Eigen/QR>
#include <cmath>
#include <functional>

#include "host/error.hpp"
#include "tests/conformance.hpp"

namespace aloft {
namespace {

using namespace conformance;

class SpectrumOps : public LinearConformance {};

/// Singular values, descending: the largest eigenvalues of [0 a; aᵀ 0]. (Eigen's SVDs take minutes to
/// compile.)
Eigen::VectorXd singular_values(const Dense& a) {
  const auto m = a.rows(), n = a.cols();
  Dense both = Dense::Zero(m + n, m + n);
  both.topRightCorner(m, n) = a;
  both.bottomLeftCorner(n, m) = a.transpose();
  const Eigen::VectorXd ascending =
      Eigen::SelfAdjointEigenSolver<Dense>(both, Eigen::EigenvaluesOnly).eigenvalues();
  return ascending.reverse().head(std::min(m, n));
}

double distance_from_identity(const Dense& gram) {
  return (gram - Dense::Identity(gram.rows(), gram.cols())).norm();
}

Dense random_orthogonal(std::int64_t n, unsigned seed) {
  const Dense g = random_dense(n, n, seed);
  return Eigen::HouseholderQR<Dense>(g).householderQ() * Dense::Identity(n, n);
}

// ---- eigh
// ----------------------------------------------------------------------------------------------------------

TEST_P(SpectrumOps, EighMatchesEigen) {
  for (const int n : {1, 2, 31, 32, 33, 63, 64, 65, 127, 129}) {
    const std::vector<Dense> a{random_dense(n, n, 1), random_dense(n, n, 2), random_dense(n, n, 3)};
    std::vector<Dense> symmetric, lower_only;
    for (const auto& g : a) {
      symmetric.push_back((g + g.transpose()) / 2);
      lower_only.push_back(symmetric.back());
      for (int i = 0; i < n; ++i)
        for (int j = i + 1; j < n; ++j) lower_only.back()(i, j) = kNan;  // must not be read
    }
    const Matrix in = upload(lower_only);
    Matrix v = unwritten(n, n, 3), values = unwritten(3, n);
    ops.eigh(in.cview(), values.data.data(), v.view());
    const Dense got = download(values);
    for (int b = 0; b < 3; ++b) {
      const Eigen::SelfAdjointEigenSolver<Dense> want(symmetric[b]);
      const Dense q = download(v, b);
      const double scale = symmetric[b].norm();
      EXPECT_LE((got.row(b).transpose() - want.eigenvalues()).norm(), 1e-12 * scale) << n;
      EXPECT_LE(distance_from_identity(q.transpose() * q), 1e-12 * n);
      EXPECT_LE((q * got.row(b).asDiagonal() * q.transpose() - symmetric[b]).norm(), 1e-12 * scale) << n;
      EXPECT_TRUE(std::is_sorted(got.row(b).begin(), got.row(b).end()));
    }
  }
}

TEST_P(SpectrumOps, EighRefusesWhatIsNotFinite) {
  Dense a = Dense::Identity(5, 5);
  a(3, 1) = kNan;
  const Matrix in = upload(a);
  Matrix v = unwritten(5, 5), values = unwritten(1, 5);
  EXPECT_THROW(ops.eigh(in.cview(), values.data.data(), v.view()), NumericError);
}

// ---- svd
// -----------------------------------------------------------------------------------------------------------

TEST_P(SpectrumOps, SvdMatchesEigenForTallSquareAndWide) {
  for (const auto& [m, n] :
       {std::pair{1, 1}, {1, 33}, {33, 1}, {31, 32}, {64, 64}, {65, 63}, {129, 20}, {20, 257}}) {
    const std::vector<Dense> a{random_dense(m, n, 4), 1e-3 * random_dense(m, n, 5)};
    const int k = std::min(m, n);
    const Matrix in = upload(a);
    Matrix u = unwritten(m, k, 2), vt = unwritten(k, n, 2), sigma = unwritten(2, k), alone = unwritten(2, k);
    ops.svd(in.cview(), u.view(), sigma.data.data(), vt.view());
    ops.svd(in.cview(), {nullptr, m, k, 2}, alone.data.data(), {nullptr, k, n, 2});
    for (int b = 0; b < 2; ++b) {
      const Eigen::VectorXd want = singular_values(a[b]);
      const double first = want(0);
      const Eigen::VectorXd s = download(sigma).row(b), s_alone = download(alone).row(b);
      const Dense left = download(u, b), right = download(vt, b);
      EXPECT_LE((s - want).lpNorm<Eigen::Infinity>(), 1e-12 * first) << m << " x " << n;
      EXPECT_LE((s_alone - want).lpNorm<Eigen::Infinity>(), 1e-12 * first);
      EXPECT_TRUE(std::is_sorted(s.begin(), s.end(), std::greater<>()));
      EXPECT_LE(distance_from_identity(left.transpose() * left), 1e-12 * k);
      EXPECT_LE(distance_from_identity(right * right.transpose()), 1e-12 * k);
      EXPECT_LE((left * s.asDiagonal() * right - a[b]).norm(), 1e-12 * a[b].norm());
    }
  }
}

TEST_P(SpectrumOps, SvdOfRankOneAndOfZero) {
  const Dense a = random_dense(40, 1, 6) * random_dense(1, 30, 7);
  const Matrix in = upload(std::vector<Dense>{a, Dense::Zero(40, 30)});
  Matrix u = unwritten(40, 30, 2), vt = unwritten(30, 30, 2), sigma = unwritten(2, 30);
  ops.svd(in.cview(), u.view(), sigma.data.data(), vt.view());
  const Dense s = download(sigma);
  EXPECT_NEAR(s(0, 0), a.norm(), 1e-12 * a.norm());
  EXPECT_LE(s.row(0).tail(29).maxCoeff(), 1e-12 * a.norm());
  EXPECT_EQ(s.row(1).norm(), 0);
  for (int b = 0; b < 2; ++b)
    EXPECT_LE(distance_from_identity(download(u, b).transpose() * download(u, b)), 1e-12 * 30);
}

TEST_P(SpectrumOps, SvdRefusesWhatIsNotFinite) {
  Dense a = Dense::Identity(5, 5);
  a(1, 3) = std::numeric_limits<double>::infinity();
  const Matrix in = upload(std::vector<Dense>{Dense::Identity(5, 5), a});
  Matrix sigma = unwritten(2, 5);
  try {
    ops.svd(in.cview(), {nullptr, 5, 5, 2}, sigma.data.data(), {nullptr, 5, 5, 2});
    FAIL() << "accepted an infinity";
  } catch (const NumericError& e) {
    EXPECT_NE(std::string(e.what()).find("(1, 3) of matrix 1"), std::string::npos) << e.what();
  }
}

// ---- skew_spectrum
// -------------------------------------------------------------------------------------------------

class SkewSpectrum : public LinearConformance {
 protected:
  /// Checks every promise of the contract for each matrix of the batch; returns the singular values
  /// [batch][m].
  Dense check(const std::vector<Dense>& items) {
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
      const Eigen::VectorXd all = singular_values(a);
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
      EXPECT_LE((back - back.transpose() - a).norm(), 1e-12 * a.norm()) << "n=" << n;
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
    const Dense q = random_orthogonal(n, seed);
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

TEST_P(SkewSpectrum, TwoByTwoByHand) {
  Dense a(2, 2);
  a << 0, 3, -3, 0;
  EXPECT_EQ(check({a})(0, 0), 3);
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
  a(4, 2) = kNan;
  const Matrix in = upload(a);
  Matrix sigma = unwritten(1, 3);
  EXPECT_THROW(ops.skew_spectrum(in.cview(), sigma.data.data(), {nullptr, 3, 6, 1}, {nullptr, 3, 6, 1}),
               NumericError);
}

TEST_P(SpectrumOps, BitsDoNotDependOnTheWorkers) {
  std::vector<Dense> skew, symmetric;
  for (unsigned b = 0; b < 4; ++b) {
    const Dense g = random_dense(70, 70, 70 + b);
    skew.push_back((g - g.transpose()) / 2);
    symmetric.push_back((g + g.transpose()) / 2);
  }
  const Matrix a = upload(skew), s = upload(symmetric);
  expect_same_bits_for_any_worker_count([&] {
    Matrix left = unwritten(35, 70, 4), right = unwritten(35, 70, 4), sigma = unwritten(4, 35);
    ops.skew_spectrum(a.cview(), sigma.data.data(), left.view(), right.view());
    return aloft::to_host(left.data);
  });
  const Dense g = random_dense(301, 301, 75);
  const Matrix alone = upload((g - g.transpose()) / 2);  // the workers share one matrix
  expect_same_bits_for_any_worker_count([&] {
    Matrix left = unwritten(150, 301), right = unwritten(150, 301), sigma = unwritten(1, 150);
    ops.skew_spectrum(alone.cview(), sigma.data.data(), left.view(), right.view());
    return aloft::to_host(right.data);
  });
  expect_same_bits_for_any_worker_count([&] {
    Matrix u = unwritten(70, 70, 4), vt = unwritten(70, 70, 4), sigma = unwritten(4, 70);
    ops.svd(a.cview(), u.view(), sigma.data.data(), vt.view());
    return aloft::to_host(u.data);
  });
  expect_same_bits_for_any_worker_count([&] {
    Matrix v = unwritten(70, 70, 4), values = unwritten(4, 70);
    ops.eigh(s.cview(), values.data.data(), v.view());
    return aloft::to_host(v.data);
  });
}

INSTANTIATE_TEST_SUITE_P(Each, SpectrumOps, ::testing::ValuesIn(linear_backends()), backend_name);
INSTANTIATE_TEST_SUITE_P(Each, SkewSpectrum, ::testing::ValuesIn(linear_backends()), backend_name);

}  // namespace
}  // namespace aloft
