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
}

TEST_P(ElementwiseOps, BitsDoNotDependOnTheWorkers) {
  const Matrix x = upload(random_dense(300, 500, 16)), y = upload(random_dense(300, 500, 17));
  expect_same_bits_for_any_worker_count([&] {
    Buffer<double> out(*backend.device, 1);
    ops.inner(x.cview(), y.cview(), out.data());
    return aloft::to_host(out);
  });
}

INSTANTIATE_TEST_SUITE_P(Each, ElementwiseOps, ::testing::ValuesIn(available_backends()), backend_name);

}  // namespace
}  // namespace aloft
