#include <cmath>
#include <functional>

#include "host/error.hpp"
#include "tests/conformance.hpp"
#include "tests/decompositions.hpp"

namespace aloft {
namespace {

using namespace conformance;

class SpectrumOps : public LinearConformance {};

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
      const Eigen::VectorXd want = oracle::eigh(symmetric[b]).values;
      const Dense q = download(v, b);
      const double scale = symmetric[b].norm();
      EXPECT_LE((got.row(b).transpose() - want).norm(), 1e-12 * scale) << n;
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

TEST_P(SpectrumOps, EighOfHardMatrices) {
  for (const int n : {3, 33, 65}) {
    const Dense q = oracle::orthogonal_factor(random_dense(n, n, 8));
    Eigen::VectorXd graded(n), twins(n);
    for (int i = 0; i < n; ++i) {
      graded(i) = (i % 2 == 0 ? 1 : -1) * std::pow(10.0, -16.0 * i / (n - 1));
      twins(i) = i < n / 2 ? 1 : -1;
    }
    std::vector<Dense> all{Dense::Zero(n, n), Dense::Identity(n, n)};
    for (const auto& values : {graded, twins}) {
      const Dense a = q * values.asDiagonal() * q.transpose();
      all.push_back((a + a.transpose()) / 2);
    }
    all.push_back(1e-160 * all[2]), all.push_back(1e160 * all[2]);
    const auto batch = std::int64_t(all.size());
    const Matrix in = upload(all);
    Matrix v = unwritten(n, n, batch), values = unwritten(batch, n);
    ops.eigh(in.cview(), values.data.data(), v.view());
    for (std::int64_t b = 0; b < batch; ++b) {
      const Dense got = download(values).row(b), vectors = download(v, b), &a = all[std::size_t(b)];
      EXPECT_TRUE(std::is_sorted(got.data(), got.data() + n));
      EXPECT_LE(distance_from_identity(vectors.transpose() * vectors), 1e-12 * n) << n << " item " << b;
      const Dense back = vectors * Eigen::VectorXd(got.row(0)).asDiagonal() * vectors.transpose();
      EXPECT_LE((back - a).cwiseAbs().maxCoeff(), 1e-12 * a.cwiseAbs().maxCoeff()) << n << " item " << b;
    }
  }
}

TEST_P(SpectrumOps, EighMayOverwriteItsInput) {
  const Dense g = random_dense(33, 33, 9), a = g + g.transpose();
  Matrix both = upload(a), values = unwritten(1, 33);
  ops.eigh(both.cview(), values.data.data(), both.view());
  const Dense v = download(both);
  EXPECT_LE((v * Eigen::VectorXd(download(values).row(0)).asDiagonal() * v.transpose() - a).norm(),
            1e-12 * a.norm());
}

// ---- eigh_top

/// Rows of `top` are orthonormal and eigenvectors of the k largest of `values`.
void expect_top_vectors(const Dense& a, const Dense& values, const Dense& top) {
  const auto n = a.rows(), k = top.rows();
  const double scale = std::max(a.norm(), 1e-300);
  EXPECT_LE(distance_from_identity(top * top.transpose()), 1e-12 * double(n)) << n << ' ' << k;
  for (int i = 0; i < k; ++i)
    EXPECT_LE((top.row(i) * (a / scale) - (values(0, n - k + i) / scale) * top.row(i)).norm(), 1e-12)
        << n << ", vector " << i << " of " << k;
}

TEST_P(SpectrumOps, EighTopMatchesEigen) {
  for (const int n : {1, 2, 31, 32, 33, 64, 65, 129})
    for (const int k : {1, 2, 8, n}) {
      if (k > n) continue;
      std::vector<Dense> symmetric, lower_only;
      for (int b = 0; b < 3; ++b) {
        const Dense g = random_dense(n, n, 40 + unsigned(b));
        symmetric.push_back((g + g.transpose()) / 2);
        lower_only.push_back(symmetric.back());
        for (int i = 0; i < n; ++i)
          for (int j = i + 1; j < n; ++j) lower_only.back()(i, j) = kNan;  // must not be read
      }
      const Matrix in = upload(lower_only);
      Matrix top = unwritten(k, n, 3), values = unwritten(3, n), alone = unwritten(3, n);
      ops.eigh_top(in.cview(), values.data.data(), top.view());
      ops.eigh_top(in.cview(), alone.data.data(), {});
      for (int b = 0; b < 3; ++b) {
        const Eigen::VectorXd want = oracle::eigh(symmetric[b]).values;
        const Dense got = download(values).row(b), without = download(alone).row(b);
        EXPECT_LE((got.transpose() - want).norm(), 1e-12 * symmetric[b].norm()) << n;
        EXPECT_LE((without.transpose() - want).norm(), 1e-12 * symmetric[b].norm()) << n;
        EXPECT_TRUE(std::is_sorted(got.data(), got.data() + n));
        expect_top_vectors(symmetric[b], got, download(top, b));
      }
    }
}

// Equal values, most of all: a Gram matrix of an antisymmetric one has each of them twice.
TEST_P(SpectrumOps, EighTopOfHardMatrices) {
  for (const int n : {6, 33, 96}) {
    const Dense q = oracle::orthogonal_factor(random_dense(n, n, 50)), g = random_dense(n, n, 51),
                skew = g - g.transpose();
    Eigen::VectorXd graded(n), twins(n);
    for (int i = 0; i < n; ++i) {
      graded(i) = std::pow(10.0, -16.0 * i / (n - 1));
      twins(i) = i < n / 2 ? 1 : -1;
    }
    std::vector<Dense> all{Dense::Zero(n, n), Dense::Identity(n, n), skew * skew.transpose()};
    for (const auto& values : {graded, twins}) {
      const Dense a = q * values.asDiagonal() * q.transpose();
      all.push_back((a + a.transpose()) / 2);
    }
    all.push_back(1e-160 * all[3]), all.push_back(1e160 * all[3]);
    const auto batch = std::int64_t(all.size());
    const Matrix in = upload(all);
    Matrix top = unwritten(5, n, batch), values = unwritten(batch, n);
    ops.eigh_top(in.cview(), values.data.data(), top.view());
    for (std::int64_t b = 0; b < batch; ++b) {
      const Dense got = download(values).row(b);
      EXPECT_TRUE(std::is_sorted(got.data(), got.data() + n)) << b;
      expect_top_vectors(all[std::size_t(b)], got, download(top, b));
    }
  }
}

TEST_P(SpectrumOps, EighTopRefusesWhatIsNotFinite) {
  Dense a = Dense::Identity(5, 5);
  a(3, 1) = kNan;
  const Matrix in = upload(a);
  Matrix values = unwritten(1, 5);
  EXPECT_THROW(ops.eigh_top(in.cview(), values.data.data(), {}), NumericError);
  EXPECT_NO_THROW(ops.eigh_top(Matrix(*backend.device, 0, 0).cview(), values.data.data(), {}));
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
      const Eigen::VectorXd want = oracle::singular_values(a[b]);
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

TEST_P(SpectrumOps, SvdOfGradedMatrices) {
  for (const auto& [m, n] : {std::pair{33, 33}, {70, 33}, {33, 70}}) {
    const int k = std::min(m, n);
    Eigen::VectorXd falling(k);
    for (int i = 0; i < k; ++i) falling(i) = std::pow(10.0, -16.0 * i / (k - 1));
    const Dense left = oracle::orthogonal_factor(random_dense(m, m, 73)).leftCols(k),
                right = oracle::orthogonal_factor(random_dense(n, n, 74)).topRows(k);
    const Dense a = left * falling.asDiagonal() * right;
    const std::vector<Dense> all{a, 1e-180 * a, 1e180 * a};
    const Matrix in = upload(all);
    Matrix u = unwritten(m, k, 3), vt = unwritten(k, n, 3), sigma = unwritten(3, k);
    ops.svd(in.cview(), u.view(), sigma.data.data(), vt.view());
    for (int b = 0; b < 3; ++b) {
      const double first = all[std::size_t(b)].cwiseAbs().maxCoeff();  // within a factor n of σ₁
      const Eigen::VectorXd s = download(sigma).row(b);
      const Dense uu = download(u, b), v = download(vt, b);
      for (int i = 0; i < k; ++i)
        EXPECT_NEAR(s(i), falling(i) * (s(0) / falling(0)), 1e-12 * s(0)) << m << " x " << n;
      EXPECT_LE(distance_from_identity(uu.transpose() * uu), 1e-12 * k);
      EXPECT_LE(distance_from_identity(v * v.transpose()), 1e-12 * k);
      EXPECT_LE((uu * s.asDiagonal() * v - all[std::size_t(b)]).cwiseAbs().maxCoeff(), 1e-12 * k * first);
    }
  }
}

TEST_P(SpectrumOps, SvdGivesEitherSideAlone) {
  for (const auto& [m, n] : {std::pair{5, 3}, {3, 5}, {4, 4}}) {
    const int k = 3 + (m == n);
    const Dense a = random_dense(m, n, 75);
    const Matrix in = upload(a);
    Matrix u = unwritten(m, k), vt = unwritten(k, n), sigma = unwritten(1, k);
    ops.svd(in.cview(), u.view(), sigma.data.data(), {nullptr, k, n});
    ops.svd(in.cview(), {nullptr, m, k}, sigma.data.data(), vt.view());
    const Eigen::VectorXd s = download(sigma).row(0);
    const Dense left = download(u), right = download(vt);  // a singular vector is found up to its sign
    EXPECT_LE(((left.transpose() * a * right.transpose()).cwiseAbs() - Dense(s.asDiagonal())).norm(), 1e-12);
  }
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

TEST_P(SpectrumOps, BitsDoNotDependOnTheWorkers) {
  std::vector<Dense> general, symmetric;
  for (unsigned b = 0; b < 4; ++b) {
    general.push_back(random_dense(70, 70, 70 + b));
    symmetric.push_back(general.back() + general.back().transpose());
  }
  const Matrix a = upload(general), s = upload(symmetric);
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

INSTANTIATE_TEST_SUITE_P(Each, SpectrumOps, ::testing::ValuesIn(available_backends()), backend_name);

}  // namespace
}  // namespace aloft
