#include "pipeline/offset/factors.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "host/error.hpp"
#include "pipeline/counts/holdout.hpp"
#include "tests/conformance.hpp"
#include "tests/factors_oracle.hpp"

// Both estimators against their formulas on dense matrices. Bases are free (signs, rotations), so what is
// compared is what a model computes: the maps S G_n Uᵀ and the bias.

namespace aloft {
namespace {

using namespace stages;

constexpr std::int64_t kTypes = 60;
constexpr std::int32_t kFactorLags = 3;

Dense dense_of(const std::vector<double>& x, std::int64_t rows, std::int64_t cols, std::int64_t item = 0) {
  return Eigen::Map<const Dense>(x.data() + item * rows * cols, rows, cols);
}
/// S G_n Uᵀ.
Dense map_of(const LagFactors& f, std::int64_t lag) {
  return dense_of(f.source, f.vocab, f.d_s) * dense_of(f.cores, f.d_s, f.d_o, lag) *
         dense_of(f.target, f.vocab, f.d_o).transpose();
}
void expect_maps(const LagFactors& f, const OracleModel& want, double tolerance) {
  ASSERT_EQ(want.maps.size(), static_cast<std::size_t>(f.lags));
  for (std::int64_t l = 0; l < f.lags; ++l) {
    const Dense& wanted = want.maps[static_cast<std::size_t>(l)];
    EXPECT_GT(wanted.norm(), 1e-3);
    EXPECT_LT((map_of(f, l) - wanted).norm(), tolerance * wanted.norm()) << "lag " << l + 1;
  }
  EXPECT_LT((dense_of(f.bias, 1, f.vocab) - want.bias.transpose()).norm(), tolerance * want.bias.norm());
}

struct FactorCase {
  explicit FactorCase(const std::string& backend) : b(backend) {}
  Bench b;
  std::vector<TokenId> ids = dependent_text(6000, kTypes, 11, 300);
  Counts counts = counted(b.ctx, ids, kTypes, 4);
  OracleStatistics statistics{ids, kTypes, kFactorLags};

  static FactorParams params(Estimator e, std::int64_t d_s = 8, std::int64_t d_o = 10) {
    FactorParams p;
    p.estimator = e;
    p.lags = kFactorLags;
    p.d_s = d_s;
    p.d_o = d_o;
    p.seed = 5;
    return p;
  }
};
struct Factors : testing::Test, FactorCase {
  Factors() : FactorCase("cpu") {}
};
struct FactorsOn : PerBackend, FactorCase {
  FactorsOn() : FactorCase(GetParam()) {}
};

TEST_P(FactorsOn, DiscriminantIsItsFormula) {
  for (const auto& [d_s, d_o] : {std::pair{8, 10}, {8, 24}, {5, 3}, {20, 10}}) {
    FactorParams p = params(Estimator::discriminant, d_s, d_o);
    p.alpha = 0.7;
    p.kappa = 20;
    p.ridge = 0.5;
    const LagFactors f = fit_lag_factors(b.ctx, counts, p);
    EXPECT_EQ(f.alpha, 0.7);
    EXPECT_EQ(f.kappa, 20);
    EXPECT_EQ(f.ridge, 0.5);
    expect_maps(f, oracle_discriminant(statistics, d_s, d_o, 0.7, 20, 0.5), 1e-6);
  }
}

TEST_P(FactorsOn, TuckerIsItsFormula) {
  for (const auto& [d_s, d_o] : {std::pair{8, 10}, {5, 3}, {20, 30}}) {
    FactorParams p = params(Estimator::tucker, d_s, d_o);
    p.kappa = 50;
    const LagFactors f = fit_lag_factors(b.ctx, counts, p);
    EXPECT_EQ(f.kappa, 50);
    ASSERT_EQ(f.lag_weights.size(), 3u);
    expect_maps(f, oracle_tucker(statistics, d_s, d_o, 50, f.lag_weights), 1e-5);
  }
}
ALOFT_ON_EACH_BACKEND(FactorsOn);

TEST_F(Factors, DefaultsWhereNothingIsHeldOut) {
  counts.holdout = {};
  const LagFactors d = fit_lag_factors(b.ctx, counts, params(Estimator::discriminant));
  EXPECT_EQ((std::vector{d.alpha, d.kappa, d.ridge}), (std::vector{0.5, 30.0, 1.0}));
  EXPECT_EQ(d.holdout_positions, 0);
  expect_maps(d, oracle_discriminant(statistics, 8, 10, 0.5, 30, 1), 1e-6);
  const LagFactors t = fit_lag_factors(b.ctx, counts, params(Estimator::tucker));
  EXPECT_EQ(t.kappa, 200);
  EXPECT_EQ(t.lag_weights, (std::vector{0.8, 0.4, 0.2}));
  expect_maps(t, oracle_tucker(statistics, 8, 10, 200, t.lag_weights), 1e-5);
}

TEST_F(Factors, RowsAreUnitAndTheBiasHasMeanZero) {
  for (const Estimator e : {Estimator::discriminant, Estimator::tucker}) {
    const LagFactors f = fit_lag_factors(b.ctx, counts, params(e));
    const Dense s = dense_of(f.source, kTypes, f.d_s);
    for (Eigen::Index i = 0; i < s.rows(); ++i) EXPECT_NEAR(s.row(i).norm(), 1, 1e-9) << i;
    EXPECT_NEAR(dense_of(f.bias, 1, kTypes).row(0).dot(statistics.p), 0, 1e-12);
  }
}

TEST_F(Factors, TuckerWritesAlongAxesThatItsHeadReadsAtTheSameSize) {
  const LagFactors f = fit_lag_factors(b.ctx, counts, params(Estimator::tucker));
  const Dense g = dense_of(f.cores, kFactorLags * f.d_s, f.d_o), u = dense_of(f.target, kTypes, f.d_o),
              c = oracle_moments(statistics, dense_of(f.source, kTypes, f.d_s));
  const Dense written = g.transpose() * c * g;
  const Dense read = u.transpose() * statistics.p.asDiagonal() * u;
  for (Eigen::Index i = 0; i < written.rows(); ++i) {
    EXPECT_NEAR(written(i, i), read(i, i), 1e-6 * read(i, i));
    for (Eigen::Index j = 0; j < i; ++j) EXPECT_NEAR(written(i, j), 0, 1e-9 * written.norm());
  }
}

TEST_F(Factors, MeasuresAreThoseOfTheMapsAndTheText) {
  for (const Estimator e : {Estimator::discriminant, Estimator::tucker}) {
    const LagFactors f = fit_lag_factors(b.ctx, counts, params(e));
    const Dense root = statistics.p.cwiseSqrt().asDiagonal();
    ASSERT_EQ(f.participation.size(), 3u);
    for (std::int64_t l = 0; l < kFactorLags; ++l)
      EXPECT_NEAR(f.participation[static_cast<std::size_t>(l)], pr_of(root * map_of(f, l) * root), 1e-6);
    double sum = 0;
    std::int64_t n = 0;
    const Dense s = dense_of(f.source, kTypes, f.d_s);
    for (std::size_t k = 2; k < ids.size(); ++k) {
      if (ids[k] == kDocumentBreak || ids[k - 1] == kDocumentBreak || ids[k - 2] == kDocumentBreak) continue;
      Dense y = Dense::Zero(1, f.d_o);
      for (std::int64_t l = 0; l < kFactorLags; ++l)
        y += s.row(ids[k - static_cast<std::size_t>(l)]) * dense_of(f.cores, f.d_s, f.d_o, l);
      sum += y.squaredNorm();
      ++n;
    }
    EXPECT_NEAR(f.written_norm, std::sqrt(sum / static_cast<double>(n)), 0.02 * f.written_norm);
  }
}

// ---- what is chosen on the held-out slice ----

/// Mean loss of an additive model (maps and bias) on positions.
double loss_of(const std::vector<Dense>& maps, const Eigen::VectorXd& bias, const HoldoutPositions& at) {
  double sum = 0;
  for (std::size_t k = 0; k < at.next.size(); ++k) {
    Eigen::VectorXd z = bias;
    for (std::size_t l = 0; l < maps.size(); ++l)
      z += maps[l].row(at.context[k * maps.size() + l]).transpose();
    const double top = z.maxCoeff();
    sum += top + std::log((z.array() - top).exp().sum()) - z(at.next[k]);
  }
  return sum / static_cast<double>(at.next.size());
}

/// The text with a break in place of every token of the slice, so that no pair touches it (and none is made).
std::vector<TokenId> text_without_slice(std::vector<TokenId> ids) {
  for (std::size_t start = 512; start < ids.size(); start += 512)
    for (std::size_t k = start; k < std::min(ids.size(), start + 64); ++k) ids[k] = kDocumentBreak;
  return ids;
}

TEST_F(Factors, ADiscriminantChosenOnTheSliceIsTheBestOfTheGridAndRefitted) {
  const HoldoutPositions at = holdout_positions(counts.holdout, kFactorLags, 8192);
  ASSERT_GT(at.size(), 300);
  const LagFactors chosen = fit_lag_factors(b.ctx, counts, params(Estimator::discriminant));
  EXPECT_EQ(chosen.holdout_positions, at.size());

  const OracleStatistics without(text_without_slice(ids), kTypes, kFactorLags);
  const auto loss = [&](double alpha, double kappa, double ridge) {
    const OracleModel m = oracle_discriminant(without, 8, kFactorLags * 8, alpha, kappa, ridge);
    return loss_of(m.maps, m.bias, at);
  };
  EXPECT_NEAR(loss(chosen.alpha, chosen.kappa, chosen.ridge), chosen.holdout_loss, 2e-5);
  for (const double kappa : {10.0, 30.0, 100.0, chosen.kappa / 3, chosen.kappa * 3, chosen.kappa})
    for (const double ridge : {0.3, 1.0, 3.0, 10.0, chosen.ridge / 3, chosen.ridge * 3, chosen.ridge})
      for (const double alpha : {0.25, 0.5, 0.8, 1.0, chosen.alpha})
        EXPECT_GE(loss(alpha, kappa, ridge), chosen.holdout_loss - 2e-5)
            << alpha << " " << kappa << " " << ridge;
  EXPECT_GT(chosen.holdout_error, 0.001);
  EXPECT_LT(chosen.holdout_error, 0.2);
  EXPECT_LT(chosen.holdout_loss, chosen.holdout_unigram_loss - 0.2);
  EXPECT_NEAR(chosen.holdout_unigram_loss, loss_of({}, without.p.array().log().matrix(), at), 1e-10);

  FactorParams given = params(Estimator::discriminant);
  given.alpha = chosen.alpha;
  given.kappa = chosen.kappa;
  given.ridge = chosen.ridge;
  const LagFactors refit = fit_lag_factors(b.ctx, counts, given);
  EXPECT_EQ(refit.target, chosen.target);
  EXPECT_EQ(refit.cores, chosen.cores);
  EXPECT_EQ(refit.bias, chosen.bias);
  expect_maps(chosen, oracle_discriminant(statistics, 8, 10, chosen.alpha, chosen.kappa, chosen.ridge), 1e-6);
}

/// A slice that is less than a 64th of the text leaves S, C and the space of U as they were without it; class
/// sums, cores, unigram and bias have it in them.
TEST_F(Factors, AxesOfTheChoiceServeTheFitWhereTheSliceIsSmall) {
  counts.holdout.blocks.resize(1);
  std::vector<TokenId> rest = ids;
  std::fill(rest.begin() + 512, rest.begin() + 576, kDocumentBreak);
  const OracleStatistics without(rest, kTypes, kFactorLags);
  const LagFactors d = fit_lag_factors(b.ctx, counts, params(Estimator::discriminant)),
                   t = fit_lag_factors(b.ctx, counts, params(Estimator::tucker));
  ASSERT_GT(d.holdout_positions, 40);
  const auto model = [&](const OracleStatistics* axes) {
    return oracle_discriminant(statistics, 8, 10, d.alpha, d.kappa, d.ridge, axes);
  };
  expect_maps(d, model(&without), 1e-6);
  EXPECT_GT((map_of(d, 0) - model(nullptr).maps[0]).norm(), 1e-4 * map_of(d, 0).norm());
  expect_maps(t, oracle_tucker(statistics, 8, 10, t.kappa, t.lag_weights, &without), 1e-5);
}

TEST_F(Factors, TuckersWeightsChosenOnTheSliceAreTheBestThere) {
  const HoldoutPositions at = holdout_positions(counts.holdout, kFactorLags, 8192);
  const LagFactors chosen = fit_lag_factors(b.ctx, counts, params(Estimator::tucker));
  const OracleStatistics without(text_without_slice(ids), kTypes, kFactorLags);
  const auto loss = [&](double kappa, const std::vector<double>& weights) {
    const OracleModel m = oracle_tucker(without, 8, 10, kappa, weights);
    return loss_of(m.maps, m.bias, at);
  };
  EXPECT_NEAR(loss(chosen.kappa, chosen.lag_weights), chosen.holdout_loss, 2e-5);
  for (std::size_t l = 0; l < 3; ++l)
    for (const double step : {-0.05, 0.05}) {
      auto moved = chosen.lag_weights;
      moved[l] += step;
      EXPECT_GT(loss(chosen.kappa, moved), chosen.holdout_loss) << l;
    }
  // The walk over κ keeps the bases of where it begins; with bases of its own another κ may be a little
  // better.
  for (const double kappa : {100.0, 200.0, 400.0, 800.0, chosen.kappa / 2, chosen.kappa * 2})
    EXPECT_GE(loss(kappa, chosen.lag_weights), chosen.holdout_loss - 0.03) << kappa;
  FactorParams given = params(Estimator::tucker);
  given.kappa = 200;  // where it began
  EXPECT_LT(chosen.holdout_loss, fit_lag_factors(b.ctx, counts, given).holdout_loss);
  EXPECT_LT(chosen.holdout_loss, chosen.holdout_unigram_loss - 0.2);
  expect_maps(chosen, oracle_tucker(statistics, 8, 10, chosen.kappa, chosen.lag_weights), 1e-5);
}

TEST_F(Factors, SameBitsForAnyNumberOfWorkers) {
  for (const Estimator e : {Estimator::discriminant, Estimator::tucker})
    conformance::expect_same_bits_for_any_worker_count([&] {
      const LagFactors f = fit_lag_factors(b.ctx, counts, params(e));
      std::vector<double> all = f.cores;
      all.insert(all.end(), f.target.begin(), f.target.end());
      all.insert(all.end(), f.bias.begin(), f.bias.end());
      all.push_back(f.holdout_loss);
      return all;
    });
}

// ---- edges ----

TEST_F(Factors, CorporaWithLittleToSayGiveFiniteFactors) {
  std::vector<std::vector<TokenId>> texts{dependent_text(700, 5, 3), std::vector<TokenId>(3000, 2)};
  std::vector<TokenId> pairs;  // pairs in the slice alone
  for (std::size_t k = 0; k < 3000; ++k)
    pairs.push_back(k % 512 < 64 && k >= 512 ? static_cast<TokenId>(k % 7) : kDocumentBreak);
  texts.push_back(pairs);
  for (const auto& text : texts)
    for (const Estimator e : {Estimator::discriminant, Estimator::tucker}) {
      const Counts few = counted(b.ctx, text, 20, kFactorLags);  // most ids never seen
      const LagFactors f = fit_lag_factors(b.ctx, few, params(e, 6, 7));
      for (const auto* x : {&f.source, &f.target, &f.cores, &f.bias})
        for (const double value : *x) ASSERT_TRUE(std::isfinite(value));
      EXPECT_TRUE(std::isfinite(f.written_norm));
    }
}

TEST_F(Factors, RequestsThatMakeNoSenseAreRefused) {
  const auto refused = [&](const std::function<void(FactorParams&)>& change) {
    FactorParams p = params(Estimator::discriminant);
    change(p);
    EXPECT_THROW((void)fit_lag_factors(b.ctx, counts, p), UsageError);
  };
  refused([](FactorParams& p) { p.lags = 5; });  // four were counted
  refused([](FactorParams& p) { p.lags = 0; });
  refused([](FactorParams& p) { p.d_s = kTypes + 1; });
  refused([](FactorParams& p) { p.d_o = 0; });
  refused([](FactorParams& p) { p.alpha = 0; });
  refused([](FactorParams& p) { p.kappa = -3; });
  refused([](FactorParams& p) { p.ridge = std::numeric_limits<double>::infinity(); });
  refused([](FactorParams& p) { p.kappa = std::nan(""); });
  const Counts nothing = counted(b.ctx, {0, kDocumentBreak, 1}, kTypes, 4);
  EXPECT_THROW((void)fit_lag_factors(b.ctx, nothing, params(Estimator::tucker)), InputError);
}

}  // namespace
}  // namespace aloft
