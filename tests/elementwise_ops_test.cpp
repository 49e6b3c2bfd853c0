#include <cmath>

#include "host/error.hpp"
#include "tests/conformance.hpp"

namespace aloft {
namespace {

using namespace conformance;

class ElementwiseOps : public LinearConformance {};

// Sides around the tile, two tiles and three; one-dimensional extremes.
constexpr std::pair<int, int> kShapes[] = {{1, 1},   {1, 33},  {33, 1},  {31, 32}, {32, 32},
                                           {32, 33}, {63, 65}, {97, 64}, {5, 400}};

TEST_P(ElementwiseOps, TransposeIsExactForEveryShapeAndItem) {
  for (const auto& [m, n] : kShapes) {
    const std::vector<Dense> x{random_dense(m, n, 1), random_dense(m, n, 2), random_dense(m, n, 3)};
    const Matrix from = upload(x);
    Matrix out = unwritten(n, m, 3);
    ops.transpose(from.cview(), out.view());
    for (int b = 0; b < 3; ++b)
      EXPECT_EQ(download(out, b), Dense(x[std::size_t(b)].transpose())) << m << " x " << n;
  }
}

TEST_P(ElementwiseOps, SkewPartIsExactlyAntisymmetric) {
  for (const int n : {1, 2, 31, 32, 33, 65, 97}) {
    const std::vector<Dense> x{random_dense(n, n, 4), random_dense(n, n, 5)};
    const Matrix from = upload(x);
    Matrix out = unwritten(n, n, 2);
    ops.skew_part(from.cview(), out.view());
    for (int b = 0; b < 2; ++b) {
      const Dense got = download(out, b), &m = x[std::size_t(b)];
      EXPECT_EQ(got, Dense(0.5 * (m - m.transpose()))) << n;
      EXPECT_EQ(got, Dense(-got.transpose())) << n;
    }
  }
}

TEST_P(ElementwiseOps, AddScaledAdds) {
  for (const auto& [m, n] : kShapes) {
    const Dense x = random_dense(m, n, 6), y = random_dense(m, n, 7);
    const Matrix from = upload(x);
    Matrix to = upload(y);
    ops.add_scaled(-1.5, from.cview(), to.view());
    EXPECT_LE((download(to) - (y - 1.5 * x)).norm(), 1e-15 * (y.norm() + x.norm())) << m << " x " << n;
  }
}

TEST_P(ElementwiseOps, SinglePrecisionAddsAndRounds) {
  for (const auto& [m, n] : kShapes) {
    const std::vector<Dense> x{random_dense(m, n, 6), random_dense(m, n, 7)};
    const Dense y = rounded(random_dense(m, n, 8));
    const Matrix from = upload(x);
    FloatMatrix out = unwritten_floats(m, n, 2), to = upload_floats(std::vector<Dense>{y, y});
    ops.round(from.cview(), out.view());
    ops.add_scaled(-1.5F, out.cview(), to.view());
    for (int b = 0; b < 2; ++b) {
      const Dense exact = rounded(x[std::size_t(b)]);
      EXPECT_EQ(download(out, b), exact) << m << " x " << n;
      EXPECT_LE((download(to, b) - (y - 1.5 * exact)).norm(), 2e-7 * (y.norm() + 1.5 * exact.norm()))
          << m << " x " << n;
    }
  }
  for (const auto& [m, n] : kShapes) {
    const std::vector<Dense> x{rounded(random_dense(m, n, 16)), rounded(random_dense(m, n, 17))};
    Matrix out = unwritten(m, n, 2);
    ops.widen(upload_floats(x).cview(), out.view());
    for (int b = 0; b < 2; ++b) EXPECT_EQ(download(out, b), x[std::size_t(b)]) << m << " x " << n;
  }
  // Halves go to the even neighbour; what is too large or too small for a float.
  const double one = 1, ulp = std::ldexp(1.0, -23);
  Dense edges(1, 6);
  edges << one + ulp / 2, one + 1.5 * ulp, one + 0.51 * ulp, 1e300, -1e-300, 0.1;
  FloatMatrix got = unwritten_floats(1, 6);
  ops.round(upload(edges).cview(), got.view());
  Dense want(1, 6);
  want << one, one + 2 * ulp, one + ulp, std::numeric_limits<double>::infinity(), -0.0, double(0.1F);
  EXPECT_EQ(download(got), want);
}

TEST_P(ElementwiseOps, RowExtremesAreTheLargestEntriesAndTheFirstOfEquals) {
  const auto extremes = [&](const Dense& x) {
    Buffer<double> out = upload_vector(std::vector<double>(std::size_t(x.rows()), kNan));
    ops.row_extremes(upload(x).cview(), out.data());
    return aloft::to_host(out);
  };
  for (const auto& [m, n] :
       {std::pair{1, 1}, {7, 31}, {8, 32}, {9, 33}, {300, 5}, {3, 1000}, {1, 4097}, {3'000, 1}}) {
    const Dense x = random_dense(m, n, 22);
    const std::vector<double> got = extremes(x);
    for (int i = 0; i < m; ++i) {
      Eigen::Index at = 0;
      x.row(i).cwiseAbs().maxCoeff(&at);
      ASSERT_EQ(got[std::size_t(i)], x(i, at)) << m << " x " << n << " row " << i;
    }
  }
  // Each row: 2 and −2 in two places, in the same lane of a warp or in others; then nothing but zeros.
  const std::pair<int, int> places[] = {{0, 1}, {31, 32}, {5, 37}, {33, 64}, {2, 99}, {64, 95}};
  for (const double first : {2.0, -2.0}) {
    Dense x = 0.5 * Dense::Ones(7, 100);
    x.row(6).setZero();
    for (int i = 0; i < 6; ++i) x(i, places[i].first) = first, x(i, places[i].second) = -first;
    EXPECT_EQ(extremes(x), (std::vector<double>{first, first, first, first, first, first, 0}));
  }
  EXPECT_EQ(extremes(Dense(3, 0)), std::vector<double>(3, 0));
  EXPECT_THROW(ops.row_extremes(Matrix(*backend.device, 2, 2, 2).cview(), nullptr), Error);
}

TEST_P(ElementwiseOps, RowNormsAreSummedInDouble) {
  for (const auto& [m, n] :
       {std::pair{1, 1}, {7, 31}, {8, 32}, {9, 33}, {300, 5}, {3, 1000}, {1, 4097}, {33'000, 1}, {5, 0}}) {
    const Dense x = random_dense(m, n, 18), weights = random_dense(n, 1, 19).cwiseAbs();
    const auto column_weights = upload_vector({weights.data(), weights.data() + n});
    const Matrix doubles = upload(x);
    const FloatMatrix floats = upload_floats(x);
    for (const bool single : {false, true}) {
      if (!single && m > 1000) continue;  // both stride alike
      Buffer<double> out = upload_vector(std::vector<double>(std::size_t(m), kNan));
      if (single)
        ops.row_norms(floats.cview(), column_weights.data(), out.data());
      else
        ops.row_norms(doubles.cview(), column_weights.data(), out.data());
      const std::vector<double> got = aloft::to_host(out);
      const Dense from = single ? rounded(x) : x, want = from.cwiseAbs2() * weights;
      for (int i = 0; i < m; ++i)
        ASSERT_NEAR(got[std::size_t(i)], want(i), 1e-13 * want(i)) << m << " x " << n << " row " << i;
    }
  }
  EXPECT_THROW(ops.row_norms(Matrix(*backend.device, 2, 2, 2).cview(), nullptr, nullptr), Error);
}

TEST_P(ElementwiseOps, InnerIsTheSumOfProductsOfEachItem) {
  for (const auto& [m, n] : {std::pair{1, 1},
                             {1, 255},
                             {16, 16},
                             {257, 1},
                             {64, 64},
                             {1, 4095},
                             {1, 4096},
                             {1, 4097},
                             {127, 129},
                             {300, 300}}) {
    const std::vector<Dense> x{random_dense(m, n, 8), random_dense(m, n, 9), random_dense(m, n, 10)};
    const std::vector<Dense> y{random_dense(m, n, 11), random_dense(m, n, 12), random_dense(m, n, 13)};
    const Matrix a = upload(x), b = upload(y);
    Buffer<double> out = upload_vector({kNan, kNan, kNan});
    ops.inner(a.cview(), b.cview(), out.data());
    const auto got = aloft::to_host(out);
    for (std::size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(got[i], x[i].cwiseProduct(y[i]).sum(), 1e-13 * x[i].norm() * y[i].norm())
          << m << " x " << n;
  }
}

TEST_P(ElementwiseOps, InnerOfManyShortItems) {
  const Dense x = random_dense(300, 3, 14);
  const Matrix rows = upload(x);
  Buffer<double> out(*backend.device, 300);
  const ConstMatrixView each(rows.data.data(), 1, 3, 300);
  ops.inner(each, each, out.data());
  const auto got = aloft::to_host(out);
  for (int i = 0; i < 300; ++i) ASSERT_NEAR(got[std::size_t(i)], x.row(i).squaredNorm(), 1e-13);
}

TEST_P(ElementwiseOps, NothingIsLeftAlone) {
  const Matrix none(*backend.device, 0, 5);
  Matrix flipped(*backend.device, 5, 0), same(*backend.device, 0, 5), square(*backend.device, 0, 0);
  EXPECT_NO_THROW(ops.transpose(none.cview(), flipped.view()));
  EXPECT_NO_THROW(ops.add_scaled(1, none.cview(), same.view()));
  EXPECT_NO_THROW(ops.skew_part(Matrix(*backend.device, 0, 0).cview(), square.view()));
  FloatMatrix floats(*backend.device, 0, 5);
  EXPECT_NO_THROW(ops.round(none.cview(), floats.view()));
  EXPECT_NO_THROW(ops.widen(floats.cview(), same.view()));
  EXPECT_NO_THROW(ops.add_scaled(1.0F, floats.cview(), floats.view()));
  EXPECT_NO_THROW(ops.row_norms(none.cview(), nullptr, nullptr));
  EXPECT_NO_THROW(ops.row_extremes(none.cview(), nullptr));
  Buffer<double> out = upload_vector({kNan});
  ops.inner(none.cview(), none.cview(), out.data());
  EXPECT_EQ(aloft::to_host(out)[0], 0);
}

TEST_P(ElementwiseOps, ShapesThatDoNotFitAreRefused) {
  const Matrix x = upload(random_dense(3, 4, 15));
  Matrix same = unwritten(3, 4), flipped = unwritten(4, 3);
  Buffer<double> out(*backend.device, 1);
  EXPECT_THROW(ops.transpose(x.cview(), same.view()), Error);
  EXPECT_THROW(ops.skew_part(x.cview(), same.view()), Error);
  EXPECT_THROW(ops.add_scaled(1, x.cview(), flipped.view()), Error);
  EXPECT_THROW(ops.inner(x.cview(), flipped.cview(), out.data()), Error);
  FloatMatrix floats = unwritten_floats(4, 3), other = unwritten_floats(3, 4);
  EXPECT_THROW(ops.round(x.cview(), floats.view()), Error);
  EXPECT_THROW(ops.widen(other.cview(), flipped.view()), Error);
  EXPECT_THROW(ops.add_scaled(1.0F, other.cview(), floats.view()), Error);
}

TEST_P(ElementwiseOps, BitsDoNotDependOnTheWorkers) {
  const Matrix x = upload(random_dense(300, 500, 16)), y = upload(random_dense(300, 500, 17));
  expect_same_bits_for_any_worker_count([&] {
    Buffer<double> out(*backend.device, 1);
    ops.inner(x.cview(), y.cview(), out.data());
    return aloft::to_host(out);
  });
  const auto weights = upload_vector(std::vector<double>(500, 0.3));
  expect_same_bits_for_any_worker_count([&] {
    Buffer<double> out(*backend.device, 300);
    ops.row_norms(x.cview(), weights.data(), out.data());
    return aloft::to_host(out);
  });
}

INSTANTIATE_TEST_SUITE_P(Each, ElementwiseOps, ::testing::ValuesIn(available_backends()), backend_name);

}  // namespace
}  // namespace aloft
