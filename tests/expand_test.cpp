#include <gtest/gtest.h>

#include "host/error.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/spectra/spectra.hpp"
#include "pipeline/spectra/stack.hpp"
#include "pipeline/spectra/whiten.hpp"
#include "tests/decompositions.hpp"
#include "tests/stage_helpers.hpp"

namespace aloft {
namespace {

using namespace stages;

class Expand : public PerBackend {};
class Whiten : public PerBackend {};
class Stack : public PerBackend {};

constexpr std::int64_t kVocab = 60, kWidth = 14;
constexpr std::int32_t kLags = 3;

struct Corpus : Bench {
  using Bench::Bench;
  std::vector<TokenId> ids = walk(4000, kVocab, 5);
  Counts counts = counts_of(ctx.device(), ids, kVocab, kLags);
  Embedding embedding = embed_ppmi_svd(ctx, counts, kWidth, 1);
  Projections projections = project(ctx, counts, embedding);
  Spectra spectra = decompose(ctx, projections);

  ExpandedSpectra run(ExpandMethod method, double target, Directions directions = Directions::keep) {
    ExpandParams p;
    p.method = method;
    p.pr_target = target;
    p.directions = directions;
    p.layer_lags = {1, 2, 3, 3};
    p.seed = 11;
    return expand(ctx, projections, spectra, p);
  }
  Dense raw(std::int64_t lag) { return assembled(spectra.antisymmetric, lag - 1); }
};

TEST_P(Expand, EveryMethodReachesTheTargetAndKeepsTheNorm) {
  Corpus c(GetParam());
  for (const auto method :
       {ExpandMethod::temper, ExpandMethod::pareto, ExpandMethod::whiten, ExpandMethod::stack})
    for (const double target : {2.5, 6.0, 11.0}) {
      const ExpandedSpectra x = c.run(method, target);
      ASSERT_EQ(x.layers.size(), 4u);
      for (std::int64_t layer = 0; layer < 4; ++layer) {
        const LayerExpansion& e = x.layers[static_cast<std::size_t>(layer)];
        const Dense before = c.raw(e.lag), after = assembled(x.planes, layer);
        EXPECT_NEAR(pr_of(after) / target, 1, 1e-6) << e.method << " layer " << layer;
        EXPECT_NEAR(e.pr_after, pr_of(after), 1e-6);
        EXPECT_NEAR(e.pr_before, pr_of(before), 1e-8);
        EXPECT_NEAR(after.norm() / before.norm(), 1, 1e-10) << e.method;
        EXPECT_NEAR(e.matrix_cosine, before.cwiseProduct(after).sum() / before.norm() / after.norm(), 1e-10);
        EXPECT_LE(orthonormality(x.planes, layer), 1e-10);
      }
      EXPECT_EQ(assembled(x.planes, 2), assembled(x.planes, 3));  // same lag, same result
    }
}

TEST_P(Expand, NoneLeavesTheSpectrumAlone) {
  Corpus c(GetParam());
  const auto x = c.run(ExpandMethod::none, 1e9);
  EXPECT_LE((assembled(x.planes, 1) - c.raw(2)).norm(), 1e-14);
  EXPECT_EQ(x.layers[1].method, "none");
  EXPECT_NEAR(x.layers[1].matrix_cosine, 1, 1e-12);
  EXPECT_NEAR(x.layers[1].subspace_overlap, 1, 1e-12);
}

TEST_P(Expand, HaarKeepsTheSpectrumOnFreshOrthonormalPlanes) {
  Corpus c(GetParam());
  const auto kept = c.run(ExpandMethod::pareto, 8), haar = c.run(ExpandMethod::pareto, 8, Directions::haar);
  EXPECT_EQ(kept.planes.sigma, haar.planes.sigma);
  for (std::int64_t layer = 0; layer < 4; ++layer) {
    EXPECT_LE(orthonormality(haar.planes, layer), 1e-12);
    EXPECT_LT(std::abs(haar.layers[static_cast<std::size_t>(layer)].matrix_cosine), 0.5);
  }
  EXPECT_GT((assembled(haar.planes, 2) - assembled(haar.planes, 3)).norm(), 0.1);  // each layer its own
}

TEST_P(Expand, RefusesWhatCannotBe) {
  Corpus c(GetParam());
  EXPECT_THROW((void)c.run(ExpandMethod::pareto, 14.5), UsageError);  // above d
  EXPECT_THROW((void)c.run(ExpandMethod::temper, 1.5), UsageError);   // pairs: at least 2
  ExpandParams p;
  EXPECT_THROW((void)expand(c.ctx, c.projections, c.spectra, p), UsageError);
  p.layer_lags = {4};
  EXPECT_THROW((void)expand(c.ctx, c.projections, c.spectra, p), UsageError);
  p.layer_lags = {1};
  p.method = ExpandMethod::stack;
  p.stack_weights = {1, 2};
  EXPECT_THROW((void)expand(c.ctx, c.projections, c.spectra, p), UsageError);
}

TEST_P(Expand, ALagWithoutPairsIsRefused) {
  Bench b(GetParam());
  const Counts counts = counts_of(b.ctx.device(), {0, 1, 2, 3, 1}, 4, 6);
  const Embedding e{matrix_of(b.ctx.device(), Dense::Random(4, 4)), "test", 4};
  const Projections p = project(b.ctx, counts, e);
  const Spectra s = decompose(b.ctx, p);
  ExpandParams params;
  params.layer_lags = {6};
  params.pr_target = 3;
  EXPECT_THROW((void)expand(b.ctx, p, s, params), InputError);
}

TEST_P(Whiten, GammaZeroIsTheRawDeviationAndOneTheRegression) {
  Corpus c(GetParam());
  Whitening w(c.ctx, c.projections, {2}, 1e-3);
  const Dense r = dense_of(c.projections.deviation, 1);
  const auto inverse = [&](const Matrix& m) {
    Dense s = dense_of(m, 1);
    s += 1e-3 * s.trace() / kWidth * Dense::Identity(kWidth, kWidth);
    return oracle::solve(s, Dense::Identity(kWidth, kWidth));
  };
  const Dense k = inverse(c.projections.source_covariance) * r * inverse(c.projections.target_covariance);
  for (const auto& [gamma, full] : {std::pair<double, Dense>{0, r}, {1, k}}) {
    const Dense skew = (full - full.transpose()) / 2, got = dense_of(w.skew(2, {&gamma, 1}));
    EXPECT_LE((got - skew).norm(), 1e-9 * skew.norm()) << gamma;
    EXPECT_EQ(got, -got.transpose());
    EXPECT_NEAR(w.participation_ratio(2, gamma), pr_of(skew), 1e-7) << gamma;
  }
}

TEST_P(Whiten, BatchesOfLagsAndGammasGiveWhatEachGivesAlone) {
  Corpus c(GetParam());
  Whitening all(c.ctx, c.projections, {3, 1, 2, 3}, 1e-3);
  const std::vector<double> gammas{0, 0.3, 1};
  for (const std::int32_t lag : {1, 2, 3}) {
    Whitening one(c.ctx, c.projections, {lag}, 1e-3);
    const Matrix together = all.skew(lag, gammas);
    const auto ratios = all.participation_ratios(lag, gammas);
    for (std::size_t i = 0; i < gammas.size(); ++i) {
      const Dense alone = dense_of(one.skew(lag, {&gammas[i], 1}));
      // A library may sum a batch of products in another order than one of them (cuBLAS does).
      EXPECT_LE((dense_of(together, std::int64_t(i)) - alone).norm(), 1e-11 * alone.norm());
      EXPECT_NEAR(ratios[i] / one.participation_ratio(lag, gammas[i]), 1, 1e-11);
    }
  }
  EXPECT_THROW((void)Whitening(c.ctx, c.projections, {1}, 1e-3).participation_ratio(2, 0), Error);
}

TEST_P(Whiten, SmallestGammaThatReachesTheTarget) {
  Corpus c(GetParam());
  Whitening w(c.ctx, c.projections, {3, 1, 1}, 1e-3);
  double best = 0;
  for (int i = 0; i <= 32; ++i) best = std::max(best, w.participation_ratio(1, i / 32.0));
  const double raw = w.participation_ratio(1, 0);
  ASSERT_GT(best, raw + 0.2);
  const double target = raw + 0.7 * (best - raw);
  const WhitenedTarget found = find_gamma(c.ctx, w, 1, target);
  EXPECT_TRUE(found.reached);
  EXPECT_NEAR(w.participation_ratio(1, found.gamma) / target, 1, 1e-6);
  for (double gamma = 0; gamma < found.gamma - 1.0 / 32; gamma += 1.0 / 32)
    EXPECT_LT(w.participation_ratio(1, gamma), target);
  const WhitenedTarget beyond = find_gamma(c.ctx, w, 1, best + 1);
  EXPECT_FALSE(beyond.reached);
  EXPECT_NEAR(beyond.max_pr / best, 1, 1e-12);
  EXPECT_NEAR(w.participation_ratio(1, beyond.gamma) / best, 1, 1e-12);
  EXPECT_EQ(find_gamma(c.ctx, w, 1, raw).gamma, 0);
}

TEST_P(Stack, OrderAndOrthogonalRanges) {
  EXPECT_EQ(stacking_order(3, 4), (std::vector<std::int32_t>{3, 1, 2, 4}));
  EXPECT_EQ(stacking_order(1, 3), (std::vector<std::int32_t>{1, 2, 3}));
  Corpus c(GetParam());
  // One lag alone: its largest planes as they are.
  const SkewPlanes& s = c.spectra.antisymmetric;
  const Dense l = dense_of(s.left, 1), r = dense_of(s.right, 1);
  Dense top = Dense::Zero(kWidth, kWidth);
  for (int k = 0; k < 2; ++k)
    top += s.sigma[static_cast<std::size_t>(7 + k)] *
           (l.row(k).transpose() * r.row(k) - r.row(k).transpose() * l.row(k));
  EXPECT_LE((dense_of(stack_lags(c.ctx, s, {2}, {1}, 2)) - top).norm(), 1e-12 * top.norm());
  // Two lags: outside the first's range it is the second's planes seen from there, weighted.
  const Dense both = dense_of(stack_lags(c.ctx, s, {2, 1}, {1, 0.25}, 2));
  Dense basis(4, kWidth);
  basis << l.topRows(2), r.topRows(2);
  const Dense out = Dense::Identity(kWidth, kWidth) - basis.transpose() * basis;
  const Dense l1 = dense_of(s.left, 0), r1 = dense_of(s.right, 0);
  Dense first = Dense::Zero(kWidth, kWidth);
  for (int k = 0; k < 2; ++k)
    first += s.sigma[static_cast<std::size_t>(k)] *
             (l1.row(k).transpose() * r1.row(k) - r1.row(k).transpose() * l1.row(k));
  EXPECT_LE((both - top - 0.25 * out * first * out).norm(), 1e-11 * both.norm());
  // A lag twice adds nothing: its planes vanish.
  EXPECT_LE((dense_of(stack_lags(c.ctx, s, {2, 2}, {1, 1}, 2)) - top).norm(), 1e-10 * top.norm());
}

ALOFT_ON_EACH_BACKEND(Expand);
ALOFT_ON_EACH_BACKEND(Whiten);
ALOFT_ON_EACH_BACKEND(Stack);

}  // namespace
}  // namespace aloft
