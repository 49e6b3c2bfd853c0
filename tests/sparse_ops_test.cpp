#include <array>
#include <cmath>
#include <map>
#include <numeric>

#include "host/error.hpp"
#include "tests/conformance.hpp"

namespace aloft {
namespace {

using namespace conformance;

class SparseOps : public LinearConformance {};

/// The oracle of a transposition: entries in a map ordered by (column, row).
template <class T>
HostCsr<T> transpose_oracle(const HostCsr<T>& a) {
  std::map<std::pair<std::uint32_t, std::int64_t>, T> entries;
  for (std::int64_t i = 0; i < a.rows; ++i)
    for (auto e = a.row_offsets[i]; e < a.row_offsets[i + 1]; ++e) entries[{a.columns[e], i}] = a.values[e];
  HostCsr<T> out{a.cols, a.rows, std::vector<std::uint64_t>(std::size_t(a.cols) + 1), {}, {}};
  for (const auto& [at, value] : entries) {
    ++out.row_offsets[at.first + 1];
    out.columns.push_back(static_cast<std::uint32_t>(at.second));
    out.values.push_back(value);
  }
  for (std::size_t i = 0; i < std::size_t(a.cols); ++i) out.row_offsets[i + 1] += out.row_offsets[i];
  return out;
}

TEST_P(SparseOps, TransposeIsExact) {
  for (const auto& [rows, cols, per_row] :
       {std::array{1, 1, 1}, {1, 33, 40}, {33, 1, 1}, {64, 65, 9}, {127, 129, 20}, {3000, 2000, 80}}) {
    const auto counts = random_counts(rows, cols, per_row, 1);
    EXPECT_EQ(to_host(ops.transpose(counts.on(*backend.device).view())), transpose_oracle(counts));
    const auto real = random_real(rows, cols, per_row, 2);
    EXPECT_EQ(to_host(ops.transpose(real.on(*backend.device).view())), transpose_oracle(real));
  }
}

TEST_P(SparseOps, TransposeOfAnEmptyMatrixIsEmpty) {
  const HostCsr<std::uint64_t> nothing{3, 5, {0, 0, 0, 0}, {}, {}};
  const auto t = to_host(ops.transpose(nothing.on(*backend.device).view()));
  EXPECT_EQ(t, (HostCsr<std::uint64_t>{5, 3, {0, 0, 0, 0, 0, 0}, {}, {}}));
}

TEST_P(SparseOps, ToRealScalesRowsAndLeavesNoZeros) {
  const HostCsr<std::uint64_t> a{3, 4, {0, 2, 3, 5}, {0, 3, 1, 0, 2}, {6, 2, 9, 1, 3}};
  const auto device = a.on(*backend.device);
  EXPECT_EQ(to_host(ops.to_real(device.view(), nullptr)),
            (HostCsr<double>{3, 4, {0, 2, 3, 5}, {0, 3, 1, 0, 2}, {6, 2, 9, 1, 3}}));
  const auto scale = upload_vector({0.5, 0, -2});
  EXPECT_EQ(to_host(ops.to_real(device.view(), scale.data())),
            (HostCsr<double>{3, 4, {0, 2, 2, 4}, {0, 3, 0, 2}, {3, 1, -2, -6}}));
}

TEST_P(SparseOps, MarginalsAreExact) {
  for (const int n : {1, 31, 33, 257, 2500}) {
    auto a = random_counts(n, n + 3, 70, 3);
    a.values[0] = 1ull << 60;  // beyond what a double holds exactly
    std::vector<std::uint64_t> rows(std::size_t(a.rows)), cols(std::size_t(a.cols));
    for (std::int64_t i = 0; i < a.rows; ++i)
      for (auto e = a.row_offsets[i]; e < a.row_offsets[i + 1]; ++e) {
        rows[i] += a.values[e];
        cols[a.columns[e]] += a.values[e];
      }
    const auto device = a.on(*backend.device);
    Buffer<std::uint64_t> row_sums(*backend.device, rows.size()), column_sums(*backend.device, cols.size());
    ops.marginals(device.view(), row_sums.data(), nullptr);
    ops.marginals(device.view(), nullptr, column_sums.data());
    EXPECT_EQ(aloft::to_host(row_sums), rows);
    EXPECT_EQ(aloft::to_host(column_sums), cols);
    backend.device->zero(row_sums.data(), rows.size() * sizeof(std::uint64_t));
    ops.marginals(device.view(), row_sums.data(), column_sums.data());
    EXPECT_EQ(aloft::to_host(row_sums), rows);
  }
}

TEST_P(SparseOps, PositivePmiOfATableByHand) {
  // Sums: rows 4, 4; columns 4, 4; total 8. (0,0): 3·8/(4·4) = 1.5; (0,1) and (1,0): 0.5, negative.
  const HostCsr<std::uint64_t> a{2, 2, {0, 2, 4}, {0, 1, 0, 1}, {3, 1, 1, 3}};
  const auto got = to_host(ops.positive_pmi(a.on(*backend.device).view()));
  EXPECT_EQ(got.columns, (std::vector<std::uint32_t>{0, 1}));
  for (const double v : got.values) EXPECT_NEAR(v, std::log(1.5), 1e-15);
  // Independent: every ratio is exactly 1, so nothing stays.
  const HostCsr<std::uint64_t> flat{2, 2, {0, 2, 4}, {0, 1, 0, 1}, {7, 21, 5, 15}};
  EXPECT_EQ(to_host(ops.positive_pmi(flat.on(*backend.device).view())).values.size(), 0u);
}

TEST_P(SparseOps, PositivePmiMatchesItsDefinition) {
  for (const std::uint64_t factor : {1ull, 1ull << 40}) {  // the second overflows 64-bit products
    auto a = random_counts(129, 127, 30, 4);
    for (auto& v : a.values) v *= factor;
    std::vector<long double> rows(129), cols(127);
    long double total = 0;
    for (std::int64_t i = 0; i < a.rows; ++i)
      for (auto e = a.row_offsets[i]; e < a.row_offsets[i + 1]; ++e) {
        rows[i] += a.values[e], cols[a.columns[e]] += a.values[e], total += a.values[e];
      }
    Dense want = Dense::Zero(129, 127);
    std::size_t kept = 0;
    for (std::int64_t i = 0; i < a.rows; ++i)
      for (auto e = a.row_offsets[i]; e < a.row_offsets[i + 1]; ++e) {
        const long double pmi = std::log(a.values[e] * total / (rows[i] * cols[a.columns[e]]));
        if (pmi > 0) want(i, a.columns[e]) = static_cast<double>(pmi), ++kept;
      }
    const auto got = to_host(ops.positive_pmi(a.on(*backend.device).view()));
    EXPECT_EQ(got.values.size(), kept);
    EXPECT_LT((got.dense() - want).norm(), 1e-14 * want.norm());
  }
}

TEST_P(SparseOps, Log1pScaledMatchesItsDefinition) {
  const HostCsr<std::uint64_t> by_hand{2, 3, {0, 2, 3}, {0, 2, 1}, {1, 4, 7}};
  const auto hand_scale = upload_vector({2, 0.5, 0.25});
  const auto hand = to_host(ops.log1p_scaled(by_hand.on(*backend.device).view(), hand_scale.data()));
  EXPECT_EQ(hand.row_offsets, by_hand.row_offsets);
  EXPECT_EQ(hand.columns, by_hand.columns);
  for (const auto& [at, want] : {std::pair{0, std::log(3.0)}, {1, std::log(2.0)}, {2, std::log(4.5)}})
    EXPECT_NEAR(hand.values[std::size_t(at)], want, 1e-15);

  for (const int n : {1, 33, 257, 2500}) {
    auto a = random_counts(n, n + 2, 40, 12);
    a.values[0] = 1ull << 60;
    std::vector<double> scale(std::size_t(n) + 2);
    for (std::size_t j = 0; j < scale.size(); ++j)
      scale[j] = std::pow(10.0, double(j % 19) - 9);  // tiny to huge
    HostCsr<double> want{a.rows, a.cols, a.row_offsets, a.columns, {}};
    for (std::size_t e = 0; e < a.values.size(); ++e)
      want.values.push_back(double(
          std::log1p(static_cast<long double>(a.values[e]) * static_cast<long double>(scale[a.columns[e]]))));
    const auto on_device = upload_vector(scale);
    const auto got = to_host(ops.log1p_scaled(a.on(*backend.device).view(), on_device.data()));
    EXPECT_EQ(got.row_offsets, want.row_offsets);
    EXPECT_EQ(got.columns, want.columns);
    for (std::size_t e = 0; e < want.values.size(); ++e)
      ASSERT_NEAR(got.values[e], want.values[e], 1e-14 * want.values[e]) << e;
  }
  const HostCsr<std::uint64_t> nothing{3, 5, {0, 0, 0, 0}, {}, {}};
  const auto ones = upload_vector(std::vector<double>(5, 1));
  EXPECT_EQ(to_host(ops.log1p_scaled(nothing.on(*backend.device).view(), ones.data())).values.size(), 0u);
}

TEST_P(SparseOps, SpmmMatchesTheDenseProduct) {
  for (const int n : {1, 31, 64, 65, 129}) {
    const auto a = random_real(n + 1, n, 20, 5);
    const auto device = a.on(*backend.device);
    for (const int k : {1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 129, 257, 288}) {
      const Dense x = random_dense(n, k, 6);
      const Matrix on_device = upload(x);
      Matrix y = unwritten(n + 1, k);
      ops.spmm(device.view(), on_device.cview(), y.view());
      const Dense want = a.dense() * x;
      EXPECT_LE((download(y) - want).norm(), 1e-13 * want.norm()) << n << " x " << k;
    }
  }
}

/// a with every value rounded; the oracle of round().
HostCsr<float> rounded_csr(const HostCsr<double>& a) {
  return {a.rows, a.cols, a.row_offsets, a.columns, {a.values.begin(), a.values.end()}};
}

TEST_P(SparseOps, SpmmInSinglePrecision) {
  for (const auto& [rows, cols, per_row] :
       {std::array{2, 1, 1}, {32, 31, 20}, {65, 64, 20}, {130, 129, 20}, {700, 1300, 6}}) {
    const auto a = random_real(rows, cols, per_row, 5);
    const FloatCsr on_device = ops.round(a.on(*backend.device).view());
    EXPECT_EQ(to_host(on_device), rounded_csr(a));
    const Dense dense = rounded_csr(a).dense();
    for (const int k : {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 129}) {
      const Dense x = rounded(random_dense(cols, k, 6));
      const FloatMatrix x_on = upload_floats(x);
      FloatMatrix y = unwritten_floats(rows, k);
      ops.spmm(on_device.view(), x_on.cview(), y.view());
      EXPECT_LE((download(y) - dense * x).norm(), 1e-6 * dense.norm() * x.norm()) << rows << " x " << k;
    }
  }
}

TEST_P(SparseOps, SpmmRefusesShapesThatDoNotFit) {
  const auto a = random_real(4, 5, 3, 7).on(*backend.device);
  Matrix x = unwritten(4, 3), y = unwritten(4, 3);
  EXPECT_THROW(ops.spmm(a.view(), x.cview(), y.view()), Error);
  FloatMatrix p = unwritten_floats(4, 3), q = unwritten_floats(4, 3);
  EXPECT_THROW(ops.spmm(ops.round(a.view()).view(), p.cview(), q.view()), Error);
}

TEST_P(SparseOps, TransposeInnerMatchesTheDenseProducts) {
  for (const int n : {1, 2, 33, 128, 257}) {
    const auto a = random_real(n, n, 40, 8);
    const auto got = ops.transpose_inner(a.on(*backend.device).view());
    const Dense m = a.dense();
    EXPECT_NEAR(got.norm2, m.squaredNorm(), 1e-12 * m.squaredNorm());
    EXPECT_NEAR(got.inner, (m.array() * m.transpose().array()).sum(), 1e-12 * m.squaredNorm());
  }
}

TEST_P(SparseOps, TransposeInnerTellsSymmetricFromAntisymmetric) {
  const HostCsr<double> symmetric{2, 2, {0, 1, 2}, {1, 0}, {3, 3}};
  const HostCsr<double> antisymmetric{2, 2, {0, 1, 2}, {1, 0}, {3, -3}};
  EXPECT_EQ(ops.transpose_inner(symmetric.on(*backend.device).view()).inner, 18);
  EXPECT_EQ(ops.transpose_inner(antisymmetric.on(*backend.device).view()).inner, -18);
  EXPECT_EQ(ops.transpose_inner(antisymmetric.on(*backend.device).view()).norm2, 18);
}

/// Rows as long as a warp, a block and a block's share of entries, one less and one more, empty ones between
/// and at both ends, and one that holds most columns. [rows, cols], any further rows empty.
template <class T, class Value>
HostCsr<T> edge_csr(std::int64_t rows, std::int64_t cols, const Value& value) {
  HostCsr<T> out{rows, cols, {0}, {}, {}};
  std::mt19937_64 rng(20);
  const std::vector<std::int64_t> lengths{0, 1, 31, 32, 33, 0, 0, 255, 256, 257, 0, 2047, 2048, 2049, 1, 0};
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t length = i < std::int64_t(lengths.size()) ? lengths[std::size_t(i)] : 0;
    for (std::int64_t c = 0, missing = length; c < cols && missing > 0; ++c)
      if (rng() % std::uint64_t(cols - c) < std::uint64_t(missing)) {  // every set of columns is as likely
        out.columns.push_back(static_cast<std::uint32_t>(c));
        out.values.push_back(value(rng));
        --missing;
      }
    out.row_offsets.push_back(out.columns.size());
  }
  return out;
}
HostCsr<std::uint64_t> edge_counts(std::int64_t rows, std::int64_t cols) {
  return edge_csr<std::uint64_t>(rows, cols, [](auto& rng) { return 1 + rng() % 1000; });
}
HostCsr<double> edge_real(std::int64_t rows, std::int64_t cols) {
  return edge_csr<double>(rows, cols, [](auto& rng) { return std::normal_distribution<double>()(rng); });
}

TEST_P(SparseOps, RowsAtTheEdgesOfWarpsAndBlocks) {
  const auto counts = edge_counts(40, 2100);
  ASSERT_EQ(counts.columns.size(), 7010u);
  const auto on_device = counts.on(*backend.device);
  EXPECT_EQ(to_host(ops.transpose(on_device.view())), transpose_oracle(counts));

  Buffer<std::uint64_t> row_sums(*backend.device, 40), column_sums(*backend.device, 2100);
  ops.marginals(on_device.view(), row_sums.data(), column_sums.data());
  const Dense dense = counts.dense();
  const auto rows = aloft::to_host(row_sums), columns = aloft::to_host(column_sums);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(double(rows[std::size_t(i)]), dense.row(i).sum());
  for (int j = 0; j < 2100; ++j) ASSERT_EQ(double(columns[std::size_t(j)]), dense.col(j).sum());

  std::vector<double> scales(40, 0.5);
  scales[0] = scales[8] = scales[12] = 0;
  const auto scale = upload_vector(scales);
  const auto real = to_host(ops.to_real(on_device.view(), scale.data()));
  EXPECT_EQ(real.values.size(), 7010u - 256 - 2048);
  EXPECT_EQ(real.dense(), Eigen::Map<const Eigen::VectorXd>(scales.data(), 40).asDiagonal() * dense);

  const auto pmi = to_host(ops.positive_pmi(on_device.view()));
  Dense want = Dense::Zero(40, 2100);
  for (int i = 0; i < 40; ++i)
    for (int j = 0; j < 2100; ++j)
      if (dense(i, j) != 0)
        want(i, j) =
            std::max(0.0, std::log(dense(i, j) * dense.sum() / (dense.row(i).sum() * dense.col(j).sum())));
  EXPECT_LE((pmi.dense() - want).norm(), 1e-13 * want.norm());
  for (const double v : pmi.values) EXPECT_GT(v, 0);
}

TEST_P(SparseOps, ProductsOfUnevenRows) {
  for (const std::int64_t rows : {40, 600}) {  // by fill on either side of where a product turns dense
    const auto a = edge_real(rows, 2100);
    const auto on_device = a.on(*backend.device);
    for (const int k : {1, 33}) {
      const Dense x = random_dense(2100, k, 21);
      const Matrix x_on = upload(x);
      Matrix y = unwritten(rows, k);
      ops.spmm(on_device.view(), x_on.cview(), y.view());
      const Dense product = a.dense() * x;
      EXPECT_LE((download(y) - product).norm(), 1e-13 * product.norm()) << rows << " x " << k;
      const FloatCsr floats = ops.round(on_device.view());
      const FloatMatrix x_floats = upload_floats(x);
      FloatMatrix z = unwritten_floats(rows, k);
      ops.spmm(floats.view(), x_floats.cview(), z.view());
      const Dense left = rounded_csr(a).dense(), right = rounded(x);
      EXPECT_LE((download(z) - left * right).norm(), 1e-6 * left.norm() * right.norm()) << rows << " x " << k;
    }
  }
  const auto square = edge_real(2100, 2100);
  const Dense m = square.dense();
  const auto got = ops.transpose_inner(square.on(*backend.device).view());
  EXPECT_NEAR(got.norm2, m.squaredNorm(), 1e-12 * m.squaredNorm());
  EXPECT_NEAR(got.inner, m.cwiseProduct(m.transpose()).sum(), 1e-12 * m.squaredNorm());
  EXPECT_GT(std::abs(got.inner), 1e-3);  // the rows do meet their mirror images
}

// Sparse enough for cuSPARSE's own product, with the widths at which its kernels change; empty rows first,
// last and in between, a full one, and one that is all there is.
TEST_P(SparseOps, ThinProductsOfVerySparseMatrices) {
  HostCsr<double> a = random_real(700, 1300, 6, 24);
  for (std::uint64_t& offset : a.row_offsets) offset += 1300;
  a.row_offsets.insert(a.row_offsets.begin(), {0, 0});  // rows 0 (empty) and 1 (full) in front
  a.row_offsets.insert(a.row_offsets.end(), 3, a.row_offsets.back());
  a.rows += 5;
  std::vector<std::uint32_t> every(1300);
  std::iota(every.begin(), every.end(), 0u);
  a.columns.insert(a.columns.begin(), every.begin(), every.end());
  a.values.insert(a.values.begin(), 1300, 0.5);
  HostCsr<double> single{700, 1300, std::vector<std::uint64_t>(701, 1), {1299}, {-2.0}};
  std::fill_n(single.row_offsets.begin(), 350, 0u);
  for (const HostCsr<double>& m : {a, single}) {
    const auto on_device = m.on(*backend.device);
    const Dense dense = m.dense();
    for (const int k : {1, 2, 3, 4, 5, 7, 8, 15, 17, 31, 33}) {
      const Dense x = random_dense(1300, k, unsigned(k));
      const Matrix x_on = upload(x);
      Matrix y = unwritten(m.rows, k);
      ops.spmm(on_device.view(), x_on.cview(), y.view());
      const Dense want = dense * x;
      EXPECT_LE((download(y) - want).norm(), 1e-13 * want.norm()) << m.values.size() << " entries, x " << k;
    }
  }
}

TEST_P(SparseOps, NothingStoredIsNothingEverywhere) {
  const HostCsr<std::uint64_t> none{33, 33, std::vector<std::uint64_t>(34), {}, {}};
  const HostCsr<double> empty{33, 33, std::vector<std::uint64_t>(34), {}, {}};
  const auto counts = none.on(*backend.device);
  const auto real = empty.on(*backend.device);
  EXPECT_EQ(to_host(ops.to_real(counts.view(), nullptr)), empty);
  const auto scale = upload_vector(std::vector<double>(33, 2.0));
  EXPECT_EQ(to_host(ops.to_real(counts.view(), scale.data())), empty);
  EXPECT_EQ(to_host(ops.positive_pmi(counts.view())), empty);
  EXPECT_EQ(to_host(ops.transpose(real.view())), empty);
  Buffer<std::uint64_t> row_sums(*backend.device, 33), column_sums(*backend.device, 33);
  ops.marginals(counts.view(), row_sums.data(), column_sums.data());
  EXPECT_EQ(aloft::to_host(row_sums), std::vector<std::uint64_t>(33));
  EXPECT_EQ(aloft::to_host(column_sums), std::vector<std::uint64_t>(33));
  const Matrix x = upload(random_dense(33, 5, 22));
  Matrix y = unwritten(33, 5);
  ops.spmm(real.view(), x.cview(), y.view());
  EXPECT_EQ(download(y), Dense::Zero(33, 5));
  const FloatCsr floats = ops.round(real.view());
  EXPECT_EQ(to_host(floats), rounded_csr(empty));
  FloatMatrix z = unwritten_floats(33, 5);
  ops.spmm(floats.view(), upload_floats(random_dense(33, 5, 22)).cview(), z.view());
  EXPECT_EQ(download(z), Dense::Zero(33, 5));
  EXPECT_EQ(ops.transpose_inner(real.view()).norm2, 0);
}

TEST_P(SparseOps, BitsDoNotDependOnTheWorkers) {
  const auto counts = random_counts(2500, 2500, 80, 9).on(*backend.device);  // large enough to be split
  const auto real = random_real(2500, 2500, 80, 10).on(*backend.device);
  const Matrix x = upload(random_dense(2500, 50, 11));
  expect_same_bits_for_any_worker_count([&] { return to_host(ops.transpose(counts.view())).columns; });
  expect_same_bits_for_any_worker_count([&] { return to_host(ops.transpose(real.view())).values; });
  expect_same_bits_for_any_worker_count([&] { return to_host(ops.positive_pmi(counts.view())).values; });
  const auto scale = upload_vector(std::vector<double>(2500, 0.3));
  expect_same_bits_for_any_worker_count(
      [&] { return to_host(ops.log1p_scaled(counts.view(), scale.data())).values; });
  expect_same_bits_for_any_worker_count([&] {
    const auto t = ops.transpose_inner(real.view());
    return std::vector<double>{t.norm2, t.inner};
  });
  expect_same_bits_for_any_worker_count([&] {
    Matrix y = unwritten(2500, 50);
    ops.spmm(real.view(), x.cview(), y.view());
    return aloft::to_host(y.data);
  });
  const FloatCsr floats = ops.round(real.view());
  const FloatMatrix x_floats = upload_floats(random_dense(2500, 50, 11));
  expect_same_bits_for_any_worker_count([&] {
    FloatMatrix y = unwritten_floats(2500, 50);
    ops.spmm(floats.view(), x_floats.cview(), y.view());
    return aloft::to_host(y.data);
  });
  expect_same_bits_for_any_worker_count([&] {
    Buffer<std::uint64_t> sums(*backend.device, 2500);
    ops.marginals(counts.view(), nullptr, sums.data());
    return aloft::to_host(sums);
  });
}

INSTANTIATE_TEST_SUITE_P(Each, SparseOps, ::testing::ValuesIn(available_backends()), backend_name);

}  // namespace
}  // namespace aloft
