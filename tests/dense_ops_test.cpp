#include <algorithm>
#include <tuple>

#include "host/error.hpp"
#include "tests/conformance.hpp"

namespace aloft {
namespace {

using namespace conformance;

class DenseOps : public LinearConformance {
 protected:
  static Dense operand(Op op, const Dense& m) { return op == Op::transpose ? Dense(m.transpose()) : m; }
};

TEST_P(DenseOps, GemmMatchesEigenForEveryOrientation) {
  for (const auto& [m, n, k] : {std::tuple{1, 1, 1},
                                {1, 33, 5},
                                {31, 32, 33},
                                {63, 65, 64},
                                {129, 127, 40},
                                {257, 600, 9},
                                {1100, 3, 17},
                                {3, 1100, 2}})
    for (const Op op_a : {Op::none, Op::transpose})
      for (const Op op_b : {Op::none, Op::transpose}) {
        const Dense a = op_a == Op::none ? random_dense(m, k, 1) : random_dense(k, m, 1);
        const Dense b = op_b == Op::none ? random_dense(k, n, 2) : random_dense(n, k, 2);
        const Dense before = random_dense(m, n, 3);
        const Matrix a_on = upload(a), b_on = upload(b);
        Matrix c = upload(before), fresh = unwritten(m, n);
        ops.gemm(-1.5, op_a, a_on.cview(), op_b, b_on.cview(), 0.25, c.view());
        ops.gemm(1, op_a, a_on.cview(), op_b, b_on.cview(), 0,
                 fresh.view());  // beta 0: c is not read, NaN or not
        const Dense product = operand(op_a, a) * operand(op_b, b);
        const Dense want = -1.5 * product + 0.25 * before;
        EXPECT_LE((download(c) - want).norm(), 1e-13 * (want.norm() + before.norm()))
            << m << ' ' << n << ' ' << k;
        EXPECT_LE((download(fresh) - product).norm(), 1e-13 * product.norm());
      }
}

TEST_P(DenseOps, GemmInSinglePrecisionForEveryOrientation) {
  for (const auto& [m, n, k] : {std::tuple{1, 1, 1},
                                {1, 33, 5},
                                {31, 32, 33},
                                {63, 65, 64},
                                {129, 127, 400},
                                {257, 600, 9},
                                {1100, 3, 17},
                                {3, 1100, 2}})
    for (const Op op_a : {Op::none, Op::transpose})
      for (const Op op_b : {Op::none, Op::transpose}) {
        const Dense a = rounded(op_a == Op::none ? random_dense(m, k, 1) : random_dense(k, m, 1));
        const Dense b = rounded(op_b == Op::none ? random_dense(k, n, 2) : random_dense(n, k, 2));
        const Dense before = rounded(random_dense(m, n, 3));
        const FloatMatrix a_on = upload_floats(a), b_on = upload_floats(b);
        FloatMatrix c = upload_floats(before), fresh = unwritten_floats(m, n);
        ops.gemm(-1.5F, op_a, a_on.cview(), op_b, b_on.cview(), 0.25F, c.view());
        ops.gemm(1.0F, op_a, a_on.cview(), op_b, b_on.cview(), 0.0F, fresh.view());  // c is not read
        const Dense product = operand(op_a, a) * operand(op_b, b);
        const double unit = 1e-6 * a.norm() * b.norm();
        EXPECT_LE((download(c) - (-1.5 * product + 0.25 * before)).norm(),
                  1.5 * unit + 0.25e-6 * before.norm())
            << m << ' ' << n << ' ' << k;
        EXPECT_LE((download(fresh) - product).norm(), unit) << m << ' ' << n << ' ' << k;
      }
}

TEST_P(DenseOps, GemmOfBatchesAndOfSharedOperands) {
  const std::vector<Dense> a{random_dense(33, 20, 4), random_dense(33, 20, 5), random_dense(33, 20, 6)};
  const std::vector<Dense> b{random_dense(20, 31, 7), random_dense(20, 31, 8), random_dense(20, 31, 9)};
  const Matrix many_a = upload(a), many_b = upload(b), one_a = upload(a[0]), one_b = upload(b[0]);
  for (const auto& [left, right] :
       {std::pair{&many_a, &many_b}, {&one_a, &many_b}, {&many_a, &one_b}, {&one_a, &one_b}}) {
    Matrix c = unwritten(33, 31, 3);
    ops.gemm(2, Op::none, left->cview(), Op::none, right->cview(), 0, c.view());
    for (std::size_t i = 0; i < 3; ++i) {
      const Dense want = 2 * a[left->batch == 1 ? 0 : i] * b[right->batch == 1 ? 0 : i];
      EXPECT_LE((download(c, std::int64_t(i)) - want).norm(), 1e-13 * want.norm());
    }
  }
}

TEST_P(DenseOps, GemmOfBatchesInSinglePrecision) {
  std::vector<Dense> a, b;
  for (unsigned i = 0; i < 3; ++i) {
    a.push_back(rounded(random_dense(33, 20, 4 + i)));
    b.push_back(rounded(random_dense(31, 20, 7 + i)));
  }
  const FloatMatrix many_a = upload_floats(a), many_b = upload_floats(b), one_a = upload_floats(a[0]),
                    one_b = upload_floats(b[0]);
  for (const auto& [left, right] :
       {std::pair{&many_a, &many_b}, {&one_a, &many_b}, {&many_a, &one_b}, {&one_a, &one_b}}) {
    FloatMatrix c = unwritten_floats(33, 31, 3);
    ops.gemm(2.0F, Op::none, left->cview(), Op::transpose, right->cview(), 0.0F, c.view());
    for (std::size_t i = 0; i < 3; ++i) {
      const Dense &x = a[left->batch == 1 ? 0 : i], &y = b[right->batch == 1 ? 0 : i];
      EXPECT_LE((download(c, std::int64_t(i)) - 2 * x * y.transpose()).norm(), 2e-6 * x.norm() * y.norm());
    }
  }
}

TEST_P(DenseOps, GemmWithoutAnInnerDimensionOnlyScales) {
  const Matrix a(*backend.device, 3, 0), b(*backend.device, 0, 2);
  Matrix c = upload(Dense::Ones(3, 2)), fresh = unwritten(3, 2);
  ops.gemm(1, Op::none, a.cview(), Op::none, b.cview(), 0.5, c.view());
  ops.gemm(1, Op::none, a.cview(), Op::none, b.cview(), 0, fresh.view());
  EXPECT_EQ(download(c), Dense::Constant(3, 2, 0.5));
  EXPECT_EQ(download(fresh), Dense::Zero(3, 2));
  const FloatMatrix x(*backend.device, 3, 0), y(*backend.device, 0, 2);
  FloatMatrix z = upload_floats(Dense::Ones(3, 2)), new_z = unwritten_floats(3, 2);
  ops.gemm(1.0F, Op::none, x.cview(), Op::none, y.cview(), 0.5F, z.view());
  ops.gemm(1.0F, Op::none, x.cview(), Op::none, y.cview(), 0.0F, new_z.view());
  EXPECT_EQ(download(z), Dense::Constant(3, 2, 0.5));
  EXPECT_EQ(download(new_z), Dense::Zero(3, 2));
}

TEST_P(DenseOps, EmptyResultsAreLeftAlone) {
  const Matrix a(*backend.device, 0, 3), b = upload(random_dense(3, 4, 1));
  Matrix c(*backend.device, 0, 4), wide(*backend.device, 4, 0);
  EXPECT_NO_THROW(ops.gemm(1, Op::none, a.cview(), Op::none, b.cview(), 0, c.view()));
  EXPECT_NO_THROW(ops.scale(c.view(), nullptr, nullptr));
  EXPECT_NO_THROW(ops.scale(wide.view(), nullptr, nullptr));
}

TEST_P(DenseOps, ScaleReachesEveryElementOfTallAndWideMatrices) {
  const Dense wide = random_dense(1, 3'001, 14), tall = random_dense(33'001, 1, 15);
  const auto twice = upload_vector({2.0});
  Matrix x = upload(wide), y = upload(tall);
  ops.scale(x.view(), twice.data(), nullptr);
  ops.scale(y.view(), nullptr, twice.data());
  EXPECT_EQ(download(x), 2 * wide);
  EXPECT_EQ(download(y), 2 * tall);
}

// host/device.hpp: memory is freed in the queue's order. Nothing here waits before the last line.
TEST_P(DenseOps, TemporariesMayGoAsSoonAsTheWorkWithThemIsQueued) {
  const Dense x = random_dense(70, 70, 8);
  const Matrix from = upload(x);
  Matrix out = unwritten(70, 70);
  for (int round = 0; round < 20; ++round) {  // the memory of one round serves the next
    Matrix copy = copy_of(from), doubled = copy_of(from);
    ops.add_scaled(1, copy.cview(), doubled.view());
    copy = Matrix(*backend.device, 70, 70);
    ops.transpose(doubled.cview(), copy.view());
    doubled = {};
    ops.transpose(copy.cview(), out.view());
  }
  EXPECT_EQ(download(out), Dense(2 * x));
}

TEST_P(DenseOps, GemmRefusesShapesThatDoNotFit) {
  const Matrix a = upload(random_dense(3, 4, 1)), b = upload(random_dense(3, 4, 2));
  Matrix c = unwritten(3, 4), two = unwritten(3, 3, 2);
  EXPECT_THROW(ops.gemm(1, Op::none, a.cview(), Op::none, b.cview(), 0, c.view()), Error);
  const Matrix three = upload(std::vector<Dense>(3, random_dense(3, 4, 1)));
  EXPECT_THROW(ops.gemm(1, Op::none, three.cview(), Op::transpose, b.cview(), 0, two.view()), Error);
  const FloatMatrix x = upload_floats(random_dense(3, 4, 1));
  FloatMatrix y = unwritten_floats(3, 4);
  EXPECT_THROW(ops.gemm(1.0F, Op::none, x.cview(), Op::none, x.cview(), 0.0F, y.view()), Error);
}

TEST_P(DenseOps, ScaleMultipliesRowsAndColumns) {
  const std::vector<Dense> x{random_dense(65, 33, 10), random_dense(65, 33, 11)};
  const Dense rows = random_dense(65, 1, 12), cols = random_dense(33, 1, 13);
  const auto row_scale = upload_vector({rows.data(), rows.data() + 65});
  const auto column_scale = upload_vector({cols.data(), cols.data() + 33});
  for (const bool use_rows : {false, true})
    for (const bool use_cols : {false, true}) {
      Matrix y = upload(x);
      FloatMatrix z = upload_floats(x);
      ops.scale(y.view(), use_rows ? row_scale.data() : nullptr, use_cols ? column_scale.data() : nullptr);
      ops.scale(z.view(), use_rows ? row_scale.data() : nullptr, use_cols ? column_scale.data() : nullptr);
      for (int b = 0; b < 2; ++b) {
        const Dense got = download(y, b), floats = download(z, b), from = rounded(x[std::size_t(b)]);
        for (int i = 0; i < 65; ++i)
          for (int j = 0; j < 33; ++j) {
            const double factor = (use_rows ? rows(i) : 1) * (use_cols ? cols(j) : 1);
            ASSERT_DOUBLE_EQ(got(i, j), x[std::size_t(b)](i, j) * factor);
            ASSERT_EQ(floats(i, j), double(float(from(i, j) * factor)));  // once rounded, to nearest
          }
      }
    }
}

// ---- orthonormalize
// ------------------------------------------------------------------------------------------------

TEST_P(DenseOps, OrthonormalizeIsTheQrFactorWithPositiveDiagonal) {
  for (const auto& [m, k] : {std::pair{1, 1},
                             {2, 1},
                             {31, 31},
                             {33, 32},
                             {129, 64},
                             {513, 5},
                             {1023, 33},
                             {1024, 33},
                             {1025, 33},
                             {2060, 257},
                             {3000, 20}}) {
    const std::vector<Dense> y{random_dense(m, k, 20), 1e-8 * random_dense(m, k, 21)};
    Matrix q_on = upload(y);
    ops.orthonormalize(q_on.view());
    for (int b = 0; b < 2; ++b) {
      const Dense q = download(q_on, b), &from = y[std::size_t(b)];
      const Dense r = q.transpose() * from;
      const double zero = 1e-13 * k * from.norm();
      EXPECT_LE(distance_from_identity(q.transpose() * q), 1e-13 * k) << m << " x " << k;
      EXPECT_LE((q * r - from).norm(), zero) << m << " x " << k;
      for (int i = 0; i < k; ++i) {
        EXPECT_GT(r(i, i), 0);
        for (int j = 0; j < i; ++j) EXPECT_LE(std::abs(r(i, j)), zero);
      }
    }
  }
}

TEST_P(DenseOps, OrthonormalizeSurvivesRankDeficiency) {
  for (const int m : {40, 2100}) {
    const int k = 33;
    Dense twins = random_dense(m, k, 22);
    twins.rightCols(16) = twins.leftCols(16);
    const Dense rank_two = random_dense(m, 2, 23) * random_dense(2, k, 24);
    Dense graded = random_dense(m, k, 25);
    for (int j = 0; j < k; ++j) graded.col(j) *= std::pow(10.0, -j);
    Dense last_row = Dense::Zero(m, k);  // every block but one is zero
    last_row(m - 1, 3) = 1;
    for (const Dense& y : {twins, rank_two, graded, last_row, Dense(Dense::Zero(m, k))}) {
      Matrix q_on = upload(y);
      ops.orthonormalize(q_on.view());
      const Dense q = download(q_on);
      EXPECT_LE(distance_from_identity(q.transpose() * q), 1e-13 * k);
      EXPECT_LE((q * (q.transpose() * y) - y).norm(), 1e-13 * k * y.norm());  // the span holds every column
    }
  }
}

/// Tall and thin, where Gram matrices would do: from columns at right angles to columns that are one.
TEST_P(DenseOps, OrthonormalizeOfTallMatricesOfAnyCondition) {
  const std::int64_t m = 6000, k = 12;
  const Dense basis = random_dense(m, k, 31);
  for (const double apart : {1.0, 1e-3, 1e-6, 1e-9, 1e-14, 0.0}) {
    Dense y = basis;
    for (std::int64_t j = 1; j < k; ++j) y.col(j) = basis.col(0) + apart * basis.col(j);
    Matrix on = upload(y);
    ops.orthonormalize(on.view());
    const Dense q = download(on);
    EXPECT_LE(distance_from_identity(q.transpose() * q), 1e-13 * k) << apart;
    EXPECT_LE((y - q * (q.transpose() * y)).norm(), 1e-12 * y.norm()) << apart;          // its span is there
    if (apart < 1e-6) continue;                                                          // rounding decides
    for (std::int64_t j = 0; j < k; ++j) EXPECT_GT(q.col(j).dot(y.col(j)), 0) << apart;  // diag(R)
  }
  Dense zero = Dense::Zero(m, k);
  Matrix on = upload(zero);
  ops.orthonormalize(on.view());
  const Dense q = download(on);
  EXPECT_LE(distance_from_identity(q.transpose() * q), 1e-13 * k);
}

TEST_P(DenseOps, OrthonormalizeKeepsDigitsAtAnyMagnitude) {
  const Dense y = random_dense(70, 33, 28);
  Matrix q_on = upload(std::vector<Dense>{y, 1e-200 * y, 1e200 * y});
  ops.orthonormalize(q_on.view());
  for (int b = 1; b < 3; ++b) EXPECT_LE((download(q_on, b) - download(q_on, 0)).cwiseAbs().maxCoeff(), 1e-12);
}

TEST_P(DenseOps, OrthonormalizeRefusesWhatIsNotFinite) {
  for (const double bad : {kNan, std::numeric_limits<double>::infinity()})
    for (const int m : {7, 1300}) {
      Dense y = random_dense(m, 4, 29);
      y(m - 2, 3) = bad;
      Matrix on = upload(std::vector<Dense>{random_dense(m, 4, 30), y});
      EXPECT_THROW(ops.orthonormalize(on.view()), NumericError) << bad << ' ' << m;
    }
}

TEST_P(DenseOps, OrthonormalizeRefusesWideMatrices) {
  Matrix y = upload(random_dense(3, 4, 26));
  EXPECT_THROW(ops.orthonormalize(y.view()), Error);
}

TEST_P(DenseOps, BitsDoNotDependOnTheWorkers) {
  const Dense tall = random_dense(3000, 40, 27);
  const Matrix a = upload(tall);
  expect_same_bits_for_any_worker_count([&] {
    Matrix q = upload(tall);
    ops.orthonormalize(q.view());
    return aloft::to_host(q.data);
  });
  expect_same_bits_for_any_worker_count([&] {
    Matrix c = unwritten(40, 40), d = unwritten(3000, 3000);
    ops.gemm(1, Op::transpose, a.cview(), Op::none, a.cview(), 0, c.view());
    ops.gemm(1, Op::none, a.cview(), Op::transpose, a.cview(), 0, d.view());
    auto all = aloft::to_host(c.data);
    const auto more = aloft::to_host(d.data);
    all.insert(all.end(), more.begin(), more.end());
    return all;
  });
  const FloatMatrix x = upload_floats(tall);
  expect_same_bits_for_any_worker_count([&] {
    FloatMatrix c = unwritten_floats(3000, 3000);
    ops.gemm(1.0F, Op::none, x.cview(), Op::transpose, x.cview(), 0.0F, c.view());
    return aloft::to_host(c.data);
  });
}

INSTANTIATE_TEST_SUITE_P(Each, DenseOps, ::testing::ValuesIn(available_backends()), backend_name);

}  // namespace
}  // namespace aloft
