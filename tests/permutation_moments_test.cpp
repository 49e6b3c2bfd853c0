#include "pipeline/analysis/permutation_moments.hpp"

#include <cmath>

#include "pipeline/analysis/permutations.hpp"
#include "tests/stage_helpers.hpp"

namespace aloft::analysis {
namespace {

using stages::Bench;
using stages::Dense;

class PermutationMoments : public PerBackend {
 protected:
  Bench bench_{GetParam()};
  static Dense random(std::int64_t rows, std::int64_t cols, unsigned seed) {
    std::mt19937_64 rng(seed);
    std::normal_distribution<double> normal;
    Dense out(rows, cols);
    for (std::int64_t i = 0; i < out.size(); ++i) out.data()[i] = normal(rng);
    return out;
  }
  /// Mean and standard deviation of ⟨m, P x Pᵀ⟩ over every signed permutation there is of three coordinates.
  static NullMoments by_enumeration(const Dense& m, const Dense& x) {
    std::vector<int> order{0, 1, 2};
    std::vector<double> values;
    do {
      for (int signs = 0; signs < 8; ++signs) {
        double sum = 0;
        for (int i = 0; i < 3; ++i)
          for (int j = 0; j < 3; ++j) {
            const double sign = ((signs >> i) & 1) == ((signs >> j) & 1) ? 1 : -1;
            sum += m(i, j) * sign * x(order[std::size_t(i)], order[std::size_t(j)]);
          }
        values.push_back(sum);
      }
    } while (std::next_permutation(order.begin(), order.end()));
    NullMoments out;
    for (const double v : values) out.mean += v / static_cast<double>(values.size());
    for (const double v : values)
      out.sd += (v - out.mean) * (v - out.mean) / static_cast<double>(values.size());
    out.sd = std::sqrt(out.sd);
    return out;
  }
  /// on: m on the device.
  ConjugationStats stats_of(const Matrix& on, const Dense& m) {
    return conjugation_stats(bench_.ctx, on.cview(), {m.squaredNorm()},
                             {(m.array() * m.transpose().array()).sum()})[0];
  }
};

TEST_P(PermutationMoments, AreThoseOfAllSignedPermutations) {
  const Dense general = random(3, 3, 1), other = random(3, 3, 2), skew = (other - other.transpose()) / 2,
              symmetric = other + other.transpose();
  for (const Dense& x : {other, skew, symmetric, Dense(Dense::Identity(3, 3))}) {
    const Matrix m = stages::matrix_of(bench_.ctx.device(), general),
                 of_x = stages::matrix_of(bench_.ctx.device(), x);
    const NullMoments got = conjugation_moments(stats_of(m, general), stats_of(of_x, x), 3),
                      want = by_enumeration(general, x);
    EXPECT_NEAR(got.mean, want.mean, 1e-12);
    EXPECT_NEAR(got.sd, want.sd, 1e-12);
  }
}

TEST_P(PermutationMoments, OfProjectionsAreThoseOfTheirMatrices) {
  const Dense rows = random(2, 6, 3);
  Dense basis = rows;
  basis.row(0) /= basis.row(0).norm();
  basis.row(1) -= basis.row(1).dot(basis.row(0)) * basis.row(0);
  basis.row(1) /= basis.row(1).norm();
  const Dense projection = basis.transpose() * basis;
  const Matrix on = stages::matrix_of(bench_.ctx.device(), basis),
               whole = stages::matrix_of(bench_.ctx.device(), projection);
  const ConjugationStats a = projection_stats(bench_.ctx, on.cview())[0], b = stats_of(whole, projection);
  EXPECT_NEAR(a.trace, b.trace, 1e-12);
  EXPECT_NEAR(a.diagonal2, b.diagonal2, 1e-12);
  EXPECT_NEAR(a.norm2, b.norm2, 1e-12);
  EXPECT_NEAR(a.transpose_inner, b.transpose_inner, 1e-12);
}

/// A head of few directions has rows of zeros in its place.
TEST_P(PermutationMoments, OfFewerDirectionsAreThoseOfTheirMatricesToo) {
  Dense basis = Dense::Zero(3, 6);
  basis(0, 1) = 0.6, basis(0, 4) = 0.8, basis(2, 2) = 1;
  const Dense projection = basis.transpose() * basis;
  const Matrix on = stages::matrix_of(bench_.ctx.device(), basis),
               whole = stages::matrix_of(bench_.ctx.device(), projection);
  const ConjugationStats a = projection_stats(bench_.ctx, on.cview())[0], b = stats_of(whole, projection);
  EXPECT_NEAR(a.trace, 2, 1e-12);
  EXPECT_NEAR(a.diagonal2, b.diagonal2, 1e-12);
  EXPECT_NEAR(a.norm2, b.norm2, 1e-12);
  EXPECT_NEAR(a.transpose_inner, b.transpose_inner, 1e-12);
}

TEST_P(PermutationMoments, AreWhatManyPermutationsShow) {
  const Dense m = random(24, 24, 4), x = random(24, 24, 5);
  const Matrix on_m = stages::matrix_of(bench_.ctx.device(), m),
               on_x = stages::matrix_of(bench_.ctx.device(), x);
  const Permutations permutations(24, 2000, 6);
  const auto values =
      permuted_inner(bench_.ctx, on_m.cview(), on_x.cview(), permutations, Sides::both).of(0, 0);
  ASSERT_EQ(values.size(), 2001U);
  EXPECT_NEAR(values[0], (m.array() * x.array()).sum(), 1e-10) << "first as they are";
  double mean = 0, square = 0;
  for (std::size_t i = 1; i < values.size(); ++i) mean += values[i] / 2000;
  for (std::size_t i = 1; i < values.size(); ++i) square += (values[i] - mean) * (values[i] - mean) / 1999;
  const NullMoments want = conjugation_moments(stats_of(on_m, m), stats_of(on_x, x), 24);
  EXPECT_NEAR(mean, want.mean, 4 * want.sd / std::sqrt(2000.0));
  EXPECT_NEAR(std::sqrt(square), want.sd, 0.08 * want.sd);
}

TEST_P(PermutationMoments, SubspacesOverlapAsTheirRowsSay) {
  Dense a = Dense::Zero(2, 5), b = Dense::Zero(2, 5);
  a(0, 0) = a(1, 1) = b(0, 1) = 1;
  b(1, 2) = 1;  // span{e0, e1} and span{e1, e2}: one direction of two in common
  const Matrix on_a = stages::matrix_of(bench_.ctx.device(), a),
               on_b = stages::matrix_of(bench_.ctx.device(), b);
  const auto values =
      permuted_overlap(bench_.ctx, on_a.cview(), on_b.cview(), Permutations(5, 50, 1)).of(0, 0);
  EXPECT_DOUBLE_EQ(values[0], 0.5);
  double mean = 0;
  for (std::size_t i = 1; i < values.size(); ++i) mean += values[i] / 50;
  EXPECT_NEAR(mean, 2.0 / 5, 0.15);
}

ALOFT_ON_EACH_BACKEND(PermutationMoments);

}  // namespace
}  // namespace aloft::analysis
