#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

// Values next to their nulls. Source of the tests: Student (1908); Westfall and Young (1993) for the largest
// of many.

namespace aloft::analysis {

/// A value, its null's mean and standard deviation, and how often the null is as far out: by itself, and the
/// furthest of its family. NaN where there is none.
struct Measured {
  double value = 0, null, null_sd, p, p_family;
  Measured();
  explicit Measured(double value_);
};

/// P(|T| >= |t|) of Student's t with `degrees` of freedom (Abramowitz and Stegun 26.7.3, 26.7.4).
[[nodiscard]] double student_two_sided(double t, std::int64_t degrees);

enum class Side { both, upper, lower };

/// Against draws that are about normal: two-sided, or whether the value is larger, a new draw's deviation
/// being sd √(1 + 1/n). on_log: of logarithms, for what is positive and skewed. `family`: how many are tested
/// at once (Bonferroni). Fewer than 3 draws, or none that differ: no p.
[[nodiscard]] Measured against_draws(double value, std::span<const double> draws, bool on_log,
                                     std::int64_t family, Side side = Side::both);

/// Values of many cells on the data as they are (index 0) and under the same permutations (1..n): p of each
/// cell, exact where the null does not change when permuted, and p_family by the largest |z| of all cells of
/// a family. Cells come a batch of layers at a time; settle() once all are there.
class PermutationFamily {
 public:
  explicit PermutationFamily(Side side) : side_(side) {}
  /// values: [1 + n]. Returns the cell's number.
  std::size_t add(std::span<const double> values);
  /// A cell whose null is known by its mean and standard deviation, and normal. p_family: times the number of
  /// such cells (Bonferroni).
  std::size_t add_normal(double value, double mean, double sd);
  /// One for each cell.
  [[nodiscard]] std::vector<Measured> settle() const;
  /// [1 + n] of z, or |z|: the largest of all cells, as they are and under each permutation. Empty where
  /// cells are normal.
  [[nodiscard]] const std::vector<double>& furthest() const { return furthest_; }
  /// z, or |z|, of a cell as it is.
  [[nodiscard]] double own(std::size_t cell) const { return own_[cell]; }

 private:
  Side side_;
  std::vector<double> furthest_;  ///< [1 + n] of z, or |z|, over the cells so far
  std::vector<double> own_;       ///< of each cell on the data as they are
  std::vector<Measured> cells_;
  std::size_t normal_cells_ = 0;
};

}  // namespace aloft::analysis
