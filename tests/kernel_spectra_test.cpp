#include "pipeline/analysis/kernel_spectra.hpp"

#include <algorithm>
#include <cmath>

#include "pipeline/analysis/gram_spectra.hpp"
#include "tests/decompositions.hpp"
#include "tests/stage_helpers.hpp"

// Spectra of kernels as factors, and of large matrices by their Gram matrices, against those of the whole
// matrix by a solver of its own (tests/decompositions.hpp).

namespace aloft::analysis {
namespace {

using stages::dense_of;
using stages::matrix_of;
using Dense = oracle::Dense;

Dense normal_matrix(std::int64_t rows, std::int64_t cols, unsigned seed) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal;
  Dense out(rows, cols);
  for (std::int64_t i = 0; i < out.size(); ++i) out.data()[i] = normal(rng);
  return out;
}

/// Rows are orthonormal and span what `want` [d, k] spans, to `tolerance`.
void expect_same_span(const Dense& rows, const Dense& want, double tolerance, const char* what) {
  const auto k = rows.rows();
  EXPECT_LE((rows * rows.transpose() - Dense::Identity(k, k)).norm(), tolerance) << what;
  EXPECT_LE((rows.transpose() * rows - want * want.transpose()).norm(), tolerance) << what;
}

void expect_spectra(const KernelSpectra& got, const Dense& m, std::int64_t item, double tolerance) {
  const auto d = m.rows(), k = std::int64_t(got.top.left.rows);
  const Dense skew = (m - m.transpose()) / 2;
  const oracle::Svd all = oracle::svd(m), turned = oracle::svd(skew);
  const double largest = all.values(0);
  const auto sigma = item_of(got.sigma, item, d), planes = item_of(got.planes, item, d / 2);
  EXPECT_TRUE(std::is_sorted(sigma.rbegin(), sigma.rend()));
  EXPECT_TRUE(std::is_sorted(planes.rbegin(), planes.rend()));
  for (std::int64_t i = 0; i < d; ++i)
    EXPECT_NEAR(sigma[std::size_t(i)], all.values(i), tolerance * largest) << i;
  for (std::int64_t i = 0; i < d / 2; ++i)
    EXPECT_NEAR(planes[std::size_t(i)], turned.values(2 * i), tolerance * largest) << "plane " << i;
  if (k == 0) return;
  expect_same_span(dense_of(got.top.left, item), all.u.leftCols(k), 1e-6, "left");
  expect_same_span(dense_of(got.top.right, item), all.v.leftCols(k), 1e-6, "right");
  expect_same_span(dense_of(got.top.skew, item), turned.u.leftCols(k), 1e-6, "skew");
}

class KernelSpectraOn : public PerBackend {
 protected:
  stages::Bench bench_{GetParam()};
  /// Items under each other in one Matrix.
  Matrix batch_of(const std::vector<Dense>& items) {
    Dense all(items[0].rows() * std::int64_t(items.size()), items[0].cols());
    for (std::size_t i = 0; i < items.size(); ++i)
      all.middleRows(std::int64_t(i) * items[0].rows(), items[0].rows()) = items[i];
    Matrix out = matrix_of(bench_.ctx.device(), all);
    out.rows = items[0].rows();
    out.batch = std::int64_t(items.size());
    return out;
  }
};

TEST_P(KernelSpectraOn, OfFactorsAreThoseOfTheirProduct) {
  // of low rank; of low rank but for the antisymmetric part; not of low rank; more rows than columns
  for (const auto& [r, d] : {std::pair{4, 33}, {8, 40}, {20, 30}, {30, 30}, {36, 30}}) {
    const std::vector<Dense> a{normal_matrix(r, d, 1), normal_matrix(r, d, 2)},
        b{normal_matrix(r, d, 3), normal_matrix(r, d, 4)};
    const Matrix on_a = batch_of(a), on_b = batch_of(b);
    for (const std::int64_t k : {0, 4}) {
      const KernelSpectra got = kernel_spectra(bench_.ctx, {on_a.cview(), on_b.cview()}, k);
      for (std::int64_t item = 0; item < 2; ++item) {
        const auto i = std::size_t(item);
        expect_spectra(got, a[i].transpose() * b[i], item, 1e-11);
      }
    }
    const Dense whole = a[0].transpose() * b[0];
    const Matrix on_device = matrix_of(bench_.ctx.device(), whole);
    expect_spectra(kernel_spectra(bench_.ctx, on_device.cview(), 4), whole, 0, 1e-11);
  }
}

/// Rows that repeat themselves (key heads that several query heads read), and none at all.
TEST_P(KernelSpectraOn, OfFewerDirectionsThanRowsEndInZeros) {
  const Dense few = normal_matrix(3, 40, 5), b = normal_matrix(6, 40, 6);
  Dense twice(6, 40);
  twice << few, few;
  const Matrix on_a = matrix_of(bench_.ctx.device(), twice), on_b = matrix_of(bench_.ctx.device(), b),
               zero = matrix_of(bench_.ctx.device(), Dense::Zero(6, 40));
  const KernelSpectra got = kernel_spectra(bench_.ctx, {on_a.cview(), on_b.cview()}, 2);
  expect_spectra(got, twice.transpose() * b, 0, 1e-7);
  const KernelSpectra nothing = kernel_spectra(bench_.ctx, {on_a.cview(), zero.cview()}, 2);
  for (const double x : nothing.sigma) EXPECT_EQ(x, 0);
  for (const double x : nothing.planes) EXPECT_EQ(x, 0);
  EXPECT_TRUE(dense_of(nothing.top.right).isZero(0));
}

TEST_P(KernelSpectraOn, GramMatricesGiveTheSameOfLargeOnes) {
  for (const auto& [m, n] : {std::pair{24, 24}, {10, 31}, {31, 10}}) {
    const Dense a = normal_matrix(m, n, 7), b = normal_matrix(m, n, 8);
    const std::vector<double> got = gram_values(bench_.ctx, batch_of({a, b}).cview());
    const std::int64_t each = std::min(m, n);
    for (std::int64_t item = 0; item < 2; ++item) {
      const Eigen::VectorXd want = oracle::singular_values(item == 0 ? a : b);
      for (std::int64_t i = 0; i < each; ++i)
        EXPECT_NEAR(got[std::size_t(item * each + i)], want(i), 1e-8 * want(0));
    }
  }
  for (const int d : {24, 33}) {
    const std::vector<Dense> items{normal_matrix(d, d, 9), normal_matrix(d, d, 10)};
    std::vector<Dense> skew;
    for (const Dense& x : items) skew.push_back((x - x.transpose()) / 2);
    GramSpectra sides = gram_spectra(bench_.ctx, batch_of(items).cview(), 4);
    GramPlanes planes = gram_planes(bench_.ctx, batch_of(skew).cview(), 4);
    const KernelSpectra got{std::move(sides.sigma),
                            std::move(planes.planes),
                            {std::move(sides.left), std::move(sides.right), std::move(planes.rows)}};
    for (std::int64_t item = 0; item < 2; ++item) expect_spectra(got, items[std::size_t(item)], item, 1e-8);
  }
}

ALOFT_ON_EACH_BACKEND(KernelSpectraOn);

}  // namespace
}  // namespace aloft::analysis
