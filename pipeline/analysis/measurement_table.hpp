#pragma once
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "pipeline/analysis/permutation_moments.hpp"
#include "pipeline/analysis/significance.hpp"
#include "pipeline/analysis/table.hpp"

namespace aloft::analysis {

/// Rows of a table whose p_family is known only when all layers have been measured. Rows keep their order.
class MeasurementTable {
 public:
  explicit MeasurementTable(Table table) : table_(std::move(table)) {}

  /// values: [1 + permutations] as they are and permuted; cells of one family are tested together.
  void add(const std::string& family, Side side, std::vector<Cell> leading, std::span<const double> values,
           std::vector<Cell> trailing = {});
  /// The same where mean and standard deviation of a normal null are known.
  void add_normal(const std::string& family, Side side, std::vector<Cell> leading, double value,
                  const NullMoments& null, std::vector<Cell> trailing = {});
  /// Measured already, p_family included; `family` is for furthest().
  void add(const std::string& family, std::vector<Cell> leading, const Measured& measured,
           std::vector<Cell> trailing = {});

  /// The table, whole.
  [[nodiscard]] Table settled() const;

  /// The furthest cell of the families whose names begin with `prefix`: its row's number in settled(), and p
  /// over all of those families, by the largest |z| under each permutation; where their nulls are no
  /// permutations by Bonferroni. p is NaN where there are none. `side`: of a statement that only figures
  /// above (below) their null can bear out, so that none of the other side is quoted for it; permutations
  /// know their own.
  struct Furthest {
    std::size_t row = 0;
    double p;
  };
  [[nodiscard]] Furthest furthest(const std::string& prefix, Side side = Side::both) const;

 private:
  struct Row {
    std::vector<Cell> leading, trailing;
    PermutationFamily* family = nullptr;
    std::string family_name;
    std::size_t cell = 0;
    Measured measured;
  };
  [[nodiscard]] std::vector<Measured> measured() const;
  [[nodiscard]] Furthest furthest_permuted(const std::string& prefix) const;

  Table table_;
  std::map<std::string, PermutationFamily> families_;
  std::vector<Row> rows_;
};

}  // namespace aloft::analysis
