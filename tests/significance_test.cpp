#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "pipeline/analysis/measurement_table.hpp"
#include "pipeline/analysis/significance.hpp"

namespace aloft::analysis {
namespace {

// Tabulated critical values of Student's t, two-sided.
TEST(Significance, StudentsTIsThatOfTheTables) {
  EXPECT_NEAR(student_two_sided(12.706, 1), 0.05, 1e-5);
  EXPECT_NEAR(student_two_sided(-4.303, 2), 0.05, 1e-5);
  EXPECT_NEAR(student_two_sided(3.182, 3), 0.05, 2e-5);
  EXPECT_NEAR(student_two_sided(2.776, 4), 0.05, 3e-5);
  EXPECT_NEAR(student_two_sided(2.861, 19), 0.01, 1e-5);
  EXPECT_NEAR(student_two_sided(2.845, 20), 0.01, 1e-5);
  EXPECT_NEAR(student_two_sided(1.984, 100), 0.05, 2e-5);
  EXPECT_EQ(student_two_sided(0, 7), 1);
}

TEST(Significance, ValuesFromTheNullAreSeldomCalledEffects) {
  std::mt19937_64 rng(1);
  std::normal_distribution<double> normal;
  int by_draws = 0, by_permutations = 0;
  constexpr int kTrials = 4000;
  for (int t = 0; t < kTrials; ++t) {
    std::vector<double> draws(20);
    for (double& x : draws) x = 5 + 2 * normal(rng);
    by_draws += against_draws(5 + 2 * normal(rng), draws, false, 1).p < 0.05;
    std::vector<double> values(100);
    for (double& x : values) x = normal(rng);
    PermutationFamily family(Side::both);
    family.add(values);
    by_permutations += family.settle()[0].p < 0.05;
  }
  // 4 standard deviations of a binomial count around 5%
  EXPECT_NEAR(by_draws, 0.05 * kTrials, 4 * std::sqrt(0.05 * 0.95 * kTrials));
  EXPECT_NEAR(by_permutations, 0.05 * kTrials, 4 * std::sqrt(0.05 * 0.95 * kTrials) + 0.01 * kTrials);
}

TEST(Significance, TheFurthestOfManyNullCellsIsSeldomAnEffect) {
  std::mt19937_64 rng(2);
  std::normal_distribution<double> normal;
  int alone = 0, family_wise = 0;
  constexpr int kTrials = 500;
  for (int t = 0; t < kTrials; ++t) {
    PermutationFamily family(Side::both);
    for (int cell = 0; cell < 40; ++cell) {
      std::vector<double> values(101);
      for (double& x : values) x = cell + (1 + cell) * normal(rng);  // every cell on a scale of its own
      family.add(values);
    }
    double least = 1, least_family = 1;
    for (const Measured& m : family.settle()) {
      least = std::min(least, m.p);
      least_family = std::min(least_family, m.p_family);
      EXPECT_GE(m.p_family, m.p - 1e-12);
    }
    alone += least < 0.05;
    family_wise += least_family < 0.05;
  }
  EXPECT_GT(alone, 0.7 * kTrials);  // what looking at 40 cells one by one would find
  EXPECT_NEAR(family_wise, 0.05 * kTrials, 4 * std::sqrt(0.05 * 0.95 * kTrials));
}

TEST(Significance, AnEffectIsFoundAndWhatNothingChangesIsNot) {
  std::vector<double> values(201, 0.0);
  for (std::size_t i = 1; i < values.size(); ++i) values[i] = std::sin(static_cast<double>(i));
  values[0] = 10;
  PermutationFamily upper(Side::upper), both(Side::both);
  upper.add(values);
  both.add(values);
  both.add(std::vector<double>(201, 3.5));
  EXPECT_DOUBLE_EQ(upper.settle()[0].p, 1.0 / 201);
  EXPECT_DOUBLE_EQ(both.settle()[0].p_family, 1.0 / 201);
  EXPECT_DOUBLE_EQ(both.settle()[1].p, 1);
  values[0] = -10;
  PermutationFamily low(Side::upper);
  low.add(values);
  EXPECT_DOUBLE_EQ(low.settle()[0].p, 1) << "one-sided";
}

TEST(Significance, FewOrEqualDrawsSayNothing) {
  EXPECT_TRUE(std::isnan(against_draws(1, {}, false, 1).null));
  const std::vector<double> two{1, 2}, equal(10, 3.0), mixed{1, -1, 2, 3};
  EXPECT_TRUE(std::isnan(against_draws(1, two, false, 1).p));
  EXPECT_DOUBLE_EQ(against_draws(1, two, false, 1).null, 1.5);
  EXPECT_TRUE(std::isnan(against_draws(1, equal, false, 1).p));
  EXPECT_TRUE(std::isnan(against_draws(1, mixed, true, 1).p));
  const std::vector<double> some{1, 2, 3, 4};
  EXPECT_DOUBLE_EQ(against_draws(2.5, some, false, 64).p_family, 1) << "Bonferroni, at most 1";
}

TEST(MeasurementTable, KeepsRowsInOrderAndFindsTheFurthestOfItsFamilies) {
  MeasurementTable t({"t", "", with_measurement({{"layer", ""}}), {}});
  const std::vector<double> weak{0.1, 1, -1, 0.5, -0.5}, strong{9, 1, -1, 0.5, -0.5};
  t.add("a/x", Side::both, {Cell(std::int64_t{0})}, weak);
  t.add("b", {Cell(std::int64_t{1})}, Measured(7));
  t.add("a/y", Side::both, {Cell(std::int64_t{2})}, strong);
  const Table settled = t.settled();
  ASSERT_EQ(settled.rows.size(), 3U);
  for (std::int64_t i = 0; i < 3; ++i) EXPECT_EQ(settled.rows[std::size_t(i)][0], Cell(i));
  EXPECT_EQ(settled.rows[1][1], Cell(7.0));
  EXPECT_EQ(settled.rows[1][4], Cell()) << "no p";
  EXPECT_EQ(t.furthest("a/").row, 2U);
  EXPECT_DOUBLE_EQ(t.furthest("a/").p, 0.2) << "of both families";
  EXPECT_TRUE(std::isnan(t.furthest("none").p));
}

TEST(MeasurementTable, QuotesForAOneSidedStatementNoFigureOfTheOtherSide) {
  const std::vector<double> draws{-2, -1, 0, 1, 2};
  MeasurementTable two_sided({"t", "", with_measurement({{"layer", ""}}), {}});
  for (const double value : {-90.0, 0.5, 8.0, 1.0})
    two_sided.add("spectra", {Cell(std::int64_t{0})}, against_draws(value, draws, false, 4));
  EXPECT_EQ(two_sided.furthest("spectra").row, 0U);
  EXPECT_EQ(two_sided.furthest("spectra", Side::lower).row, 0U);
  EXPECT_LT(two_sided.furthest("spectra", Side::lower).p, 0.01);
  EXPECT_EQ(two_sided.furthest("spectra", Side::upper).row, 2U);
  EXPECT_EQ(two_sided.furthest("spectra", Side::upper).p, against_draws(8, draws, false, 4).p_family);

  // p of all is 1 for so many: the largest stands for them, not the one that is far below
  MeasurementTable upper({"t", "", with_measurement({{"layer", ""}}), {}});
  for (const double value : {-90.0, 0.5, 1.5, 1.0})
    upper.add("copying", {Cell(std::int64_t{0})}, against_draws(value, draws, false, 400, Side::upper));
  EXPECT_EQ(upper.furthest("copying", Side::upper).row, 2U);
  EXPECT_EQ(upper.furthest("copying", Side::upper).p, 1);

  MeasurementTable below({"t", "", with_measurement({{"layer", ""}}), {}});
  for (const double value : {-90.0, -8.0})
    below.add("x", {Cell(std::int64_t{0})}, against_draws(value, draws, false, 2));
  EXPECT_EQ(below.furthest("x", Side::upper).row, 1U) << "the least below";
  EXPECT_EQ(below.furthest("x", Side::upper).p, 1) << "and no effect";
}

TEST(AnalysisTable, CsvQuotesAndLeavesNothingEmpty) {
  Table t{"t", "", {{"a", ""}, {"b,c", ""}}, {}};
  t.add({Cell(std::string("x \"y\"\n")), Cell()});
  t.add({Cell(0.1), Cell(std::int64_t{3})});
  EXPECT_EQ(csv_of(t), "a,\"b,c\"\r\n\"x \"\"y\"\"\n\",\r\n0.1,3\r\n");
  EXPECT_EQ(number(NAN), Cell());
}

}  // namespace
}  // namespace aloft::analysis
