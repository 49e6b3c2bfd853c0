#pragma once
#include <cstdint>
#include <vector>

namespace aloft {

/// Optimal play of a zero-sum game.
struct GameSolution {
  std::vector<double> weights;  ///< [rows] >= 0, sum 1: the row player's mixed strategy
  double value = 0;             ///< min over columns of Σ_i weights[i] payoff[i][j], the largest possible
};

/// max over weights of min_j Σ_i weights[i] payoff[i][j]; payoff row-major [rows, columns], finite. Solved
/// exactly (to rounding) as a linear programme by the primal simplex method on the column player's side,
/// where the slack basis is feasible: a tableau of rows × (columns + rows). Ties are broken by the smallest
/// index, so the answer is reproducible; Bland's rule takes over when the objective stalls, so it ends. Rows
/// are few (tens), columns up to many thousands. Throws NumericError for payoffs that are not finite.
[[nodiscard]] GameSolution solve_matrix_game(const std::vector<double>& payoff, std::int64_t rows,
                                             std::int64_t columns);

}  // namespace aloft
