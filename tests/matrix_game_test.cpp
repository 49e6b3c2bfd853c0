#include "kernels/matrix_game.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "host/error.hpp"

namespace aloft {
namespace {

using Table = std::vector<std::vector<double>>;

GameSolution play(const Table& payoff) {
  std::vector<double> flat;
  for (const auto& row : payoff) flat.insert(flat.end(), row.begin(), row.end());
  return solve_matrix_game(flat, static_cast<std::int64_t>(payoff.size()),
                           static_cast<std::int64_t>(payoff[0].size()));
}

/// What the row player is sure of: min over columns of Σ_i w_i payoff_ij.
double guaranteed(const Table& payoff, const std::vector<double>& w) {
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t j = 0; j < payoff[0].size(); ++j) {
    double sum = 0;
    for (std::size_t i = 0; i < payoff.size(); ++i) sum += w[i] * payoff[i][j];
    least = std::min(least, sum);
  }
  return least;
}

/// −payoffᵀ: the same game seen from the column player's side.
Table other_side(const Table& payoff) {
  Table out(payoff[0].size(), std::vector<double>(payoff.size()));
  for (std::size_t i = 0; i < payoff.size(); ++i)
    for (std::size_t j = 0; j < payoff[0].size(); ++j) out[j][i] = -payoff[i][j];
  return out;
}

void expect_strategy(const std::vector<double>& w, std::size_t rows) {
  ASSERT_EQ(w.size(), rows);
  for (const double x : w) EXPECT_GE(x, 0);
  EXPECT_NEAR(std::accumulate(w.begin(), w.end(), 0.0), 1, 1e-14);
}

/// The value is guaranteed by the row player, and the column player can hold the row player to it: together
/// they prove that it is optimal, whatever the method was.
void expect_optimal(const Table& payoff, double tolerance) {
  const GameSolution row = play(payoff), column = play(other_side(payoff));
  expect_strategy(row.weights, payoff.size());
  expect_strategy(column.weights, payoff[0].size());
  EXPECT_NEAR(guaranteed(payoff, row.weights), row.value, tolerance);
  EXPECT_NEAR(guaranteed(other_side(payoff), column.weights), column.value, tolerance);
  EXPECT_NEAR(row.value, -column.value, tolerance);
}

TEST(MatrixGame, GamesSolvedByHand) {
  const GameSolution pennies = play({{1, -1}, {-1, 1}});
  EXPECT_NEAR(pennies.value, 0, 1e-14);
  EXPECT_NEAR(pennies.weights[0], 0.5, 1e-14);

  // a, b; c, d without a saddle: value (ad − bc)/(a + d − b − c), first weight (d − c)/(a + d − b − c).
  const GameSolution two = play({{3, -1}, {-2, 4}});
  EXPECT_NEAR(two.value, (3.0 * 4 - 1.0 * 2) / 10, 1e-14);
  EXPECT_NEAR(two.weights[0], 0.6, 1e-14);

  const GameSolution stones = play({{0, -1, 1}, {1, 0, -1}, {-1, 1, 0}});
  EXPECT_NEAR(stones.value, 0, 1e-14);
  for (const double w : stones.weights) EXPECT_NEAR(w, 1.0 / 3, 1e-14);

  // Diagonal payoffs: weights ∝ 1/d_i, value 1/Σ 1/d_i.
  const GameSolution diagonal = play({{1, 0, 0}, {0, 2, 0}, {0, 0, 4}});
  EXPECT_NEAR(diagonal.value, 1 / 1.75, 1e-14);
  EXPECT_NEAR(diagonal.weights[2], 0.25 / 1.75, 1e-14);
}

TEST(MatrixGame, ASaddlePointIsAPureStrategy) {
  const GameSolution s = play({{4, 1, 7}, {5, 3, 9}, {2, 0, 8}});  // row 1 dominates; column 1 is its least
  EXPECT_NEAR(s.value, 3, 1e-13);
  EXPECT_NEAR(s.weights[1], 1, 1e-14);
}

TEST(MatrixGame, OneRowOrOneColumn) {
  const GameSolution row = play({{4, -2, 9}});
  EXPECT_NEAR(row.value, -2, 1e-13);
  EXPECT_EQ(row.weights, std::vector<double>{1});
  const GameSolution column = play({{4}, {-2}, {9}});
  EXPECT_NEAR(column.value, 9, 1e-13);
  EXPECT_NEAR(column.weights[2], 1, 1e-14);
}

TEST(MatrixGame, NoPureDeviationImprovesRandomGames) {
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal;
  for (const auto& [rows, columns] : {std::pair{2, 7}, {5, 5}, {8, 40}, {16, 127}, {3, 300}, {40, 9}}) {
    Table payoff(static_cast<std::size_t>(rows), std::vector<double>(static_cast<std::size_t>(columns)));
    for (auto& row : payoff)
      for (double& x : row) x = normal(random);
    SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns));
    expect_optimal(payoff, 1e-10);
  }
}

TEST(MatrixGame, TiesAndRepeatedStrategiesStillEnd) {
  expect_optimal(Table(6, std::vector<double>(50, 0.25)), 1e-12);  // nothing matters
  Table repeated;
  for (int i = 0; i < 9; ++i) {
    std::vector<double> row;
    for (int j = 0; j < 60; ++j) row.push_back((i / 3 * 7 + j % 4) % 3 == 0 ? 1 : 0);
    repeated.push_back(row);
  }
  expect_optimal(repeated, 1e-11);
  // Every pair of a ring of cosines: as degenerate as the programmes of offset_pattern.
  Table ring;
  for (int i = 1; i <= 12; ++i) {
    std::vector<double> row;
    for (int j = 1; j < 64; ++j) row.push_back(1 - std::cos(i * j * M_PI / 32));
    ring.push_back(row);
  }
  expect_optimal(ring, 1e-10);
}

TEST(MatrixGame, ValueFollowsAShiftAndAScale) {
  std::mt19937_64 random(9);
  Table payoff(6, std::vector<double>(20));
  for (auto& row : payoff)
    for (double& x : row) x = static_cast<double>(random() % 1000) / 500 - 1;
  const GameSolution plain = play(payoff);
  for (auto& row : payoff)
    for (double& x : row) x = 3 * x - 5;
  EXPECT_NEAR(play(payoff).value, 3 * plain.value - 5, 1e-10);
}

TEST(MatrixGame, SameGameSameBits) {
  std::mt19937_64 random(1);
  Table payoff(12, std::vector<double>(90));
  for (auto& row : payoff)
    for (double& x : row) x = static_cast<double>(random() % 5);  // many ties
  const GameSolution first = play(payoff);
  for (int k = 0; k < 3; ++k) {
    const GameSolution again = play(payoff);
    EXPECT_EQ(again.weights, first.weights);
    EXPECT_EQ(again.value, first.value);
  }
}

TEST(MatrixGame, WhatIsNoGameIsRefused) {
  EXPECT_THROW(play({{1, std::nan("")}}), NumericError);
  EXPECT_THROW(play({{1, 2}, {INFINITY, 2}}), NumericError);
  EXPECT_THROW((void)solve_matrix_game({1, 2, 3}, 2, 2), Error);
  EXPECT_THROW((void)solve_matrix_game({}, 0, 0), Error);
}

}  // namespace
}  // namespace aloft
