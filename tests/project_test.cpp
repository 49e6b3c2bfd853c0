#include <gtest/gtest.h>

#include "host/error.hpp"
#include "kernels/spectral_measures.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/spectra/spectra.hpp"
#include "tests/stage_helpers.hpp"

namespace aloft {
namespace {

using namespace stages;

class Project : public PerBackend {};
class Decompose : public PerBackend {};
class MeasureAsymmetry : public PerBackend {};

constexpr std::int64_t kVocab = 23, kWidth = 7;

struct Small : Bench {
  using Bench::Bench;
  std::vector<TokenId> ids = walk(400, kVocab, 3, 2);
  Counts counts = counts_of(ctx.device(), ids, kVocab, 3);
  Dense e = Dense::Random(kVocab, kWidth);
  Embedding embedding{matrix_of(ctx.device(), e), "test", kWidth};
};

TEST_P(Project, AgainstDenseMatrices) {
  Small s(GetParam());
  const Projections p = project(s.ctx, s.counts, s.embedding);
  const auto j = naive_counts(s.ids, kVocab, 3);
  for (std::int64_t lag = 0; lag < 3; ++lag) {
    const Dense& counts = j[static_cast<std::size_t>(lag)];
    Dense t = counts;
    for (Eigen::Index i = 0; i < t.rows(); ++i)
      if (t.row(i).sum() > 0) t.row(i) /= t.row(i).sum();
    const Dense joint = counts / counts.sum();
    const Eigen::VectorXd r = joint.rowwise().sum(), c = joint.colwise().sum();
    const auto near = [&](const Matrix& got, const Dense& want) {
      EXPECT_LE((dense_of(got, lag) - want).norm(), 1e-13 * (1 + want.norm())) << "lag " << lag + 1;
    };
    near(p.transition, s.e.transpose() * t * s.e);
    near(p.deviation, s.e.transpose() * (joint - r * c.transpose()) * s.e);
    near(p.source_covariance, s.e.transpose() * (Dense(r.asDiagonal()) - r * r.transpose()) * s.e);
    near(p.target_covariance, s.e.transpose() * (Dense(c.asDiagonal()) - c * c.transpose()) * s.e);
  }
}

TEST_P(Project, ALagLongerThanTheCorpusIsZero) {
  Bench b(GetParam());
  const std::vector<TokenId> ids{0, 1, 2};
  const Counts counts = counts_of(b.ctx.device(), ids, 4, 3);
  ASSERT_EQ(counts.pairs[2], 0u);
  const Embedding e{matrix_of(b.ctx.device(), Dense::Random(4, 3)), "test", 3};
  const Projections p = project(b.ctx, counts, e);
  for (const Matrix* m : {&p.transition, &p.deviation, &p.source_covariance, &p.target_covariance})
    EXPECT_EQ(dense_of(*m, 2).norm(), 0);
  EXPECT_GT(dense_of(p.transition, 1).norm(), 0);
  const Spectra spectra = decompose(b.ctx, p);
  EXPECT_EQ(paired_participation_ratio({spectra.antisymmetric.sigma.data() + 2, 1}), 0);
}

TEST_P(Project, WrongNumberOfRows) {
  Small s(GetParam());
  const Embedding e{matrix_of(s.ctx.device(), Dense::Random(kVocab - 1, 3)), "test", 3};
  EXPECT_THROW((void)project(s.ctx, s.counts, e), UsageError);
}

TEST_P(Decompose, PlanesRebuildTheAntisymmetricPart) {
  Small s(GetParam());
  const Projections p = project(s.ctx, s.counts, s.embedding);
  const Spectra spectra = decompose(s.ctx, p);
  for (std::int64_t lag = 0; lag < 3; ++lag) {
    const Dense full = dense_of(p.transition, lag), skew = (full - full.transpose()) / 2;
    EXPECT_LE((assembled(spectra.antisymmetric, lag) - skew).norm(), 1e-12 * skew.norm());
    EXPECT_LE(orthonormality(spectra.antisymmetric, lag), 1e-12);
    const auto planes = std::span(spectra.antisymmetric.sigma).subspan(static_cast<std::size_t>(lag * 3), 3);
    const double pr = paired_participation_ratio(planes);
    EXPECT_NEAR(pr, pr_of(skew), 1e-10);
    EXPECT_GE(pr, 2);
    EXPECT_LE(pr, kWidth - 1);
    double squares = 0;
    for (std::int64_t k = 0; k < kWidth; ++k)
      squares += std::pow(spectra.general_sigma[static_cast<std::size_t>(lag * kWidth + k)], 2);
    EXPECT_NEAR(squares, full.squaredNorm(), 1e-12 * squares);  // trace identity
    EXPECT_NEAR(spectra.transition_norm[static_cast<std::size_t>(lag)], full.norm(), 1e-12 * full.norm());
  }
}

TEST_P(MeasureAsymmetry, AgainstDenseMatrices) {
  Small s(GetParam());
  const auto got = measure_asymmetry(s.ctx, s.counts);
  const auto j = naive_counts(s.ids, kVocab, 3);
  for (std::size_t lag = 0; lag < 3; ++lag) {
    Dense t = j[lag];
    for (Eigen::Index i = 0; i < t.rows(); ++i)
      if (t.row(i).sum() > 0) t.row(i) /= t.row(i).sum();
    const auto ratio = [](const Dense& m) { return ((m - m.transpose()) / 2).norm() / m.norm(); };
    EXPECT_NEAR(asymmetry({got[lag].counts_norm2, got[lag].counts_inner}).ratio, ratio(j[lag]), 1e-12);
    EXPECT_NEAR(asymmetry({got[lag].transition_norm2, got[lag].transition_inner}).ratio, ratio(t), 1e-12);
  }
}

ALOFT_ON_EACH_BACKEND(Project);
ALOFT_ON_EACH_BACKEND(Decompose);
ALOFT_ON_EACH_BACKEND(MeasureAsymmetry);

}  // namespace
}  // namespace aloft
