#include "pipeline/offset/matching.hpp"

#include <gtest/gtest.h>

#include <Eigen/Core>

#include "tests/conformance.hpp"
#include "tests/decompositions.hpp"
#include "tests/per_backend.hpp"
#include "tests/stage_helpers.hpp"

// The code and the map of an induction head against their formulas, dense.

namespace aloft {
namespace {

using conformance::Dense;
using conformance::random_dense;

constexpr std::int64_t kVocab = 40, kSource = 9, kTarget = 12;

Dense dense_of(const std::vector<double>& x, std::int64_t rows, std::int64_t cols) {
  return Eigen::Map<const Dense>(x.data(), rows, cols);
}

struct MatchingCase {
  MatchingCase() {
    f.vocab = kVocab;
    f.d_s = kSource;
    f.d_o = kTarget;
    const Dense s = random_dense(kVocab, kSource, 1).rowwise().normalized(),
                u = random_dense(kVocab, kTarget, 2);
    f.source.assign(s.data(), s.data() + s.size());
    f.target.assign(u.data(), u.data() + u.size());
    for (std::int64_t i = 0; i < kVocab; ++i) f.log_p.push_back(-0.1 * static_cast<double>(i));
    p = dense_of(f.log_p, kVocab, 1).array().exp().matrix();
    p /= p.sum();
    source = s;
    target = u;
    gram = s.transpose() * p.asDiagonal() * s;
  }
  LagFactors f;
  Eigen::VectorXd p;
  Dense source, target, gram;
};

struct InductionFit : testing::TestWithParam<std::string>, MatchingCase {
  stages::Bench b{GetParam()};
};

TEST_P(InductionFit, TheCodeIsWhiteAndReadsTheStrongestDirections) {
  const Matching m = fit_matching(b.ctx, f, 4, 5);
  const Dense code = dense_of(m.code, 4, kSource);
  const Dense covariance = code * gram * code.transpose();
  EXPECT_LT((covariance - Dense::Identity(4, 4) / 4).norm(), 1e-10);
  const Dense top = oracle::eigh(gram).vectors.rightCols(4);
  EXPECT_NEAR((code * top).norm(), code.norm(), 1e-10 * code.norm());
}

TEST_P(InductionFit, TheMapIsTheRegressionOfTargetOnSource) {
  const Matching m = fit_matching(b.ctx, f, 2, 100);
  ASSERT_EQ(m.rank, kSource);
  const Dense map = dense_of(m.value, m.rank, kSource).transpose() * dense_of(m.output, m.rank, kTarget);
  Dense wanted = oracle::solve(gram, source.transpose() * p.asDiagonal() * target);
  const double own = (source * wanted).cwiseProduct(target).rowwise().sum().dot(p);
  wanted /= own;
  EXPECT_LT((map - wanted).norm(), 1e-9 * wanted.norm());
}

TEST_P(InductionFit, AReducedMapStillGivesATokenItself) {
  const Matching m = fit_matching(b.ctx, f, 2, 3);
  ASSERT_EQ(m.rank, 3);
  const Dense map = dense_of(m.value, 3, kSource).transpose() * dense_of(m.output, 3, kTarget);
  EXPECT_NEAR((source * map).cwiseProduct(target).rowwise().sum().dot(p), 1, 1e-10);
}

ALOFT_ON_EACH_BACKEND(InductionFit);

}  // namespace
}  // namespace aloft
