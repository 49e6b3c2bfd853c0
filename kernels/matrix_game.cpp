#include "kernels/matrix_game.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "host/error.hpp"

// With B = payoff + shift > 0 the column player's programme is: maximise Σ y subject to B y <= 1, y >= 0. Its
// value is 1/(v + shift), and the optimal multipliers of the rows, normalised, are the row player's strategy
// (Dantzig, "Linear Programming and Extensions", 1963, chapter 13).

namespace aloft {
namespace {

constexpr double kZero = 1e-11;     // entries are of order 1
constexpr int kStallsToBland = 20;  // pivots without progress before the rule that cannot cycle

class Tableau {
 public:
  Tableau(const std::vector<double>& payoff, std::int64_t rows, std::int64_t columns, double shift)
      : rows_(rows), columns_(columns), width_(columns + rows + 1), cells_(size((rows + 1) * width_), 0.0) {
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j) at(i, j) = payoff[size(i * columns + j)] + shift;
      at(i, columns + i) = 1;
      at(i, width_ - 1) = 1;
      basis_.push_back(columns + i);
    }
    for (std::int64_t j = 0; j < columns; ++j) at(rows, j) = -1;  // reduced costs of the maximisation
  }

  void solve() {
    int stalls = 0;
    for (;;) {
      const std::int64_t enter = entering(stalls >= kStallsToBland);
      if (enter < 0) return;
      const std::int64_t leave = leaving(enter);
      expects(leave >= 0, "a game with positive payoffs is bounded");
      const double before = at(rows_, width_ - 1);
      pivot(leave, enter);
      stalls = at(rows_, width_ - 1) > before + kZero ? 0 : stalls + 1;
    }
  }
  [[nodiscard]] double total() const { return at(rows_, width_ - 1); }
  [[nodiscard]] double multiplier(std::int64_t row) const { return at(rows_, columns_ + row); }

 private:
  static std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }
  [[nodiscard]] double& at(std::int64_t i, std::int64_t j) { return cells_[size(i * width_ + j)]; }
  [[nodiscard]] double at(std::int64_t i, std::int64_t j) const { return cells_[size(i * width_ + j)]; }

  [[nodiscard]] std::int64_t entering(bool first) const {
    std::int64_t best = -1;
    for (std::int64_t j = 0; j < width_ - 1; ++j) {
      if (at(rows_, j) >= -kZero) continue;
      if (first) return j;
      if (best < 0 || at(rows_, j) < at(rows_, best)) best = j;
    }
    return best;
  }
  [[nodiscard]] std::int64_t leaving(std::int64_t enter) const {
    std::int64_t best = -1;
    double smallest = 0;
    for (std::int64_t i = 0; i < rows_; ++i) {
      if (at(i, enter) <= kZero) continue;
      const double ratio = at(i, width_ - 1) / at(i, enter);
      if (best < 0 || ratio < smallest || (ratio == smallest && basis_[size(i)] < basis_[size(best)])) {
        best = i;
        smallest = ratio;
      }
    }
    return best;
  }
  void pivot(std::int64_t row, std::int64_t column) {
    double* const chosen = &at(row, 0);
    const double scale = 1 / chosen[column];
    filled_.clear();  // half of a tableau is the slack variables' columns, which are zero but for a few
    for (std::int64_t j = 0; j < width_; ++j) {
      if (chosen[j] == 0) continue;
      chosen[j] *= scale;
      filled_.push_back(j);
    }
    for (std::int64_t i = 0; i <= rows_; ++i) {
      double* const other = &at(i, 0);
      const double factor = other[column];
      if (i == row || factor == 0) continue;
      for (const std::int64_t j : filled_) other[j] -= factor * chosen[j];
    }
    basis_[size(row)] = column;
  }

  std::int64_t rows_, columns_, width_;
  std::vector<double> cells_;
  std::vector<std::int64_t> basis_, filled_;
};

}  // namespace

GameSolution solve_matrix_game(const std::vector<double>& payoff, std::int64_t rows, std::int64_t columns) {
  expects(rows >= 1 && columns >= 1 && payoff.size() == static_cast<std::size_t>(rows * columns),
          "a game has rows, columns and a payoff for each");
  for (const double x : payoff)
    if (!std::isfinite(x)) throw NumericError("matrix game: a payoff is not a finite number");
  const double shift = 1 - *std::min_element(payoff.begin(), payoff.end());
  Tableau tableau(payoff, rows, columns, shift);
  tableau.solve();
  GameSolution out;
  for (std::int64_t i = 0; i < rows; ++i) out.weights.push_back(std::max(0.0, tableau.multiplier(i)));
  const double sum = std::accumulate(out.weights.begin(), out.weights.end(), 0.0);
  for (double& w : out.weights) w /= sum;
  out.value = 1 / tableau.total() - shift;
  return out;
}

}  // namespace aloft
