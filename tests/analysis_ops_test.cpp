#include <algorithm>
#include <cmath>
#include <complex>
#include <random>

#include "host/error.hpp"
#include "tests/conformance.hpp"

// What `aloft analyze` asks of a backend beside the rest: permutations, eigenvalues of general matrices,
// counts weighted by attention.

namespace aloft {
namespace {

using namespace conformance;

class AnalysisOps : public LinearConformance {};

// ---- permute

std::vector<std::int32_t> random_signed_indices(std::int64_t n, unsigned seed) {
  std::mt19937_64 rng(seed);
  std::vector<std::int32_t> out;
  for (std::int64_t i = 0; i < n; ++i) out.push_back(signed_index(i, rng() % 2 == 1));
  std::shuffle(out.begin(), out.end(), rng);
  return out;
}

double signed_element(const Dense& x, std::int32_t i, std::int32_t j) {
  const double value = x(i < 0 ? -1 - i : i, j < 0 ? -1 - j : j);
  return (i < 0) == (j < 0) ? value : -value;
}

TEST_P(AnalysisOps, PermuteTakesRowsAndColumnsWithTheirSigns) {
  for (const auto& [m, n] : {std::pair{1, 1}, {5, 33}, {31, 32}, {257, 63}, {64, 1025}}) {
    const std::vector<Dense> items{random_dense(m, n, 1), random_dense(m, n, 2), random_dense(m, n, 3)};
    const auto rows = random_signed_indices(m, 4), columns = random_signed_indices(n, 5);
    const Matrix x = upload(items);
    const auto on_rows = to_device<const std::int32_t>(*backend.device, rows),
               on_columns = to_device<const std::int32_t>(*backend.device, columns);
    Matrix out = unwritten(m, n, 3), of_rows = unwritten(m, n, 3), of_columns = unwritten(m, n, 3);
    ops.permute(x.cview(), on_rows.data(), on_columns.data(), out.view());
    ops.permute(x.cview(), on_rows.data(), nullptr, of_rows.view());
    ops.permute(x.cview(), nullptr, on_columns.data(), of_columns.view());
    for (std::int64_t b = 0; b < 3; ++b) {
      Dense want(m, n), want_rows(m, n), want_columns(m, n);
      for (std::int32_t i = 0; i < m; ++i)
        for (std::int32_t j = 0; j < n; ++j) {
          want(i, j) = signed_element(items[b], rows[i], columns[j]);
          want_rows(i, j) = signed_element(items[b], rows[i], j);
          want_columns(i, j) = signed_element(items[b], i, columns[j]);
        }
      EXPECT_EQ(download(out, b), want) << m << ' ' << n;
      EXPECT_EQ(download(of_rows, b), want_rows);
      EXPECT_EQ(download(of_columns, b), want_columns);
    }
  }
}

TEST_P(AnalysisOps, PermuteWorksOnBlocksAndTakesFewerRows) {
  const Dense whole = random_dense(40, 50, 6), before = random_dense(20, 30, 7);
  const std::vector<std::int32_t> rows{7, signed_index(0, true), 3}, columns{4, signed_index(4, true)};
  const Matrix x = upload(whole);
  Matrix out = upload(before);
  const auto on_rows = to_device<const std::int32_t>(*backend.device, rows),
             on_columns = to_device<const std::int32_t>(*backend.device, columns);
  ops.permute(x.cview().block(2, 3, 30, 40), on_rows.data(), on_columns.data(), out.view().block(5, 6, 3, 2));
  Dense want = before;
  const Dense part = whole.block(2, 3, 30, 40);
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 2; ++j) want(5 + i, 6 + j) = signed_element(part, rows[i], columns[j]);
  EXPECT_EQ(download(out), want);
}

// ---- eigenvalues

using Complex = std::complex<double>;

std::vector<Complex> sorted(std::vector<Complex> x) {
  std::sort(x.begin(), x.end(), [](Complex a, Complex b) {
    return std::pair(a.real(), a.imag()) < std::pair(b.real(), b.imag());
  });
  return x;
}

/// Known eigenvalues: blocks of two (conjugate pairs) and of one down the diagonal, `above` beside them, in
/// other coordinates by reflections.
std::pair<Dense, std::vector<Complex>> with_eigenvalues(std::int64_t n, unsigned seed, double above) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal;
  Dense a = Dense::Zero(n, n);
  std::vector<Complex> values;
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = i + 1; j < n; ++j) a(i, j) = above * normal(rng);
  for (std::int64_t i = 0; i < n;) {
    const double re = normal(rng), im = 1 + std::abs(normal(rng));
    if (i + 1 < n && i % 3 != 2) {
      a.block(i, i, 2, 2) << re, im, -im, re;
      values.insert(values.end(), {{re, im}, {re, -im}});
      i += 2;
    } else {
      a(i, i) = re;
      values.emplace_back(re, 0.0);
      ++i;
    }
  }
  for (int k = 0; k < 3; ++k) {
    Dense v = random_dense(n, 1, seed + 10 + static_cast<unsigned>(k));
    v /= v.norm();
    const Dense h = Dense::Identity(n, n) - 2 * v * v.transpose();
    a = (h * a * h).eval();
  }
  return {a, sorted(values)};
}

TEST_P(AnalysisOps, EigenvaluesOfGeneralMatrices) {
  for (const std::int64_t n : {1, 2, 3, 8, 33, 64, 65})
    for (const double above : {0.0, 0.02}) {
      const auto [a, want] = with_eigenvalues(n, 20 + static_cast<unsigned>(n), above);
      const Matrix on = upload(std::vector<Dense>{a, Dense(1e150 * a), a.transpose()});
      Buffer<double> values(*backend.device, static_cast<std::size_t>(6 * n));
      ops.eigenvalues(on.cview(), values.data());
      const auto host = aloft::to_host(values);
      for (std::int64_t item = 0; item < 3; ++item) {
        const double unit = item == 1 ? 1e150 : 1;
        std::vector<Complex> got;
        for (std::int64_t k = 0; k < n; ++k)
          got.emplace_back(host[2 * (item * n + k)] / unit, host[2 * (item * n + k) + 1] / unit);
        got = sorted(got);
        for (std::size_t k = 0; k < got.size(); ++k)
          EXPECT_LE(std::abs(got[k] - want[k]), 1e-9 * a.norm()) << n << ' ' << item << ' ' << k;
      }
    }
}

TEST_P(AnalysisOps, EigenvaluesRefuseWhatIsNotFinite) {
  Dense a = random_dense(5, 5, 1);
  a(4, 0) = kNan;
  const Matrix on = upload(std::vector<Dense>{random_dense(5, 5, 2), a});
  Buffer<double> values(*backend.device, 20);
  EXPECT_THROW(ops.eigenvalues(on.cview(), values.data()), NumericError);
  EXPECT_NO_THROW(ops.eigenvalues(Matrix(*backend.device, 0, 0).cview(), values.data()));
}

// ---- attention_weighted

TEST_P(AnalysisOps, AttentionWeighsEntriesBySoftmaxOverTheStoredColumns) {
  for (const auto& [rows, cols, width, heads] :
       {std::tuple{1, 1, 1, 1}, {40, 33, 6, 3}, {13, 300, 8, 1}, {130, 70, 10, 5}}) {
    const HostCsr<double> a = random_real(rows, cols, 90, 3);
    const Dense queries = 3 * random_dense(rows, width, 4), keys = 3 * random_dense(cols, width, 5);
    const double scale = 0.7;
    const RealCsr on = a.on(*backend.device);
    const Matrix q = upload(queries), k = upload(keys);
    const HostCsr<double> got =
        to_host(ops.attention_weighted(on.view(), q.cview(), k.cview(), heads, scale));
    EXPECT_EQ(got.row_offsets, a.row_offsets);
    EXPECT_EQ(got.columns, a.columns);
    const int part = width / heads;
    for (int i = 0; i < rows; ++i) {
      std::vector<double> want(a.row_offsets[i + 1] - a.row_offsets[i]);
      for (int h = 0; h < heads; ++h) {
        std::vector<double> weight;
        double sum = 0;
        for (auto e = a.row_offsets[i]; e < a.row_offsets[i + 1]; ++e)
          sum += weight.emplace_back(std::exp(
              scale *
              queries.row(i).segment(h * part, part).dot(keys.row(a.columns[e]).segment(h * part, part))));
        for (std::size_t e = 0; e < want.size(); ++e) want[e] += weight[e] / sum / heads;
      }
      for (std::size_t e = 0; e < want.size(); ++e) {
        const double expected = want[e] * a.values[a.row_offsets[i] + e];
        EXPECT_NEAR(got.values[a.row_offsets[i] + e], expected, 1e-13 * (1 + std::abs(expected)));
      }
    }
  }
}

TEST_P(AnalysisOps, AttentionOfLargeScoresStaysFinite) {
  const HostCsr<double> a{1, 3, {0, 2}, {0, 2}, {5, 7}};
  const RealCsr on = a.on(*backend.device);
  const Matrix q = upload(Dense::Constant(1, 1, 1.0)), k = upload(Dense(Eigen::Vector3d(800, 9999, 801)));
  const auto got = to_host(ops.attention_weighted(on.view(), q.cview(), k.cview(), 1, 1)).values;
  EXPECT_NEAR(got[0], 5 / (1 + std::exp(1.0)), 1e-13);
  EXPECT_NEAR(got[1], 7 / (1 + std::exp(-1.0)), 1e-13);
}

INSTANTIATE_TEST_SUITE_P(Each, AnalysisOps, ::testing::ValuesIn(available_backends()), backend_name);

}  // namespace
}  // namespace aloft
