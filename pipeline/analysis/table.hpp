#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace aloft::analysis {

/// A number, a text, or nothing: does not apply.
using Cell = std::variant<std::monostate, std::int64_t, double, std::string>;

/// A layer, a head, a lag: nothing where a row is of all of them.
[[nodiscard]] inline Cell cell(std::optional<std::int64_t> x) { return x ? Cell(*x) : Cell(); }
/// A measured number; nothing where there is none (NaN).
[[nodiscard]] Cell number(double x);

struct Column {
  std::string name, about;
};

/// Rows of cells under named columns: what analysis.json and the CSV files hold (docs/analysis.md).
struct Table {
  std::string name, about;
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;

  /// Throws Error unless the row has a cell for every column.
  void add(std::vector<Cell> row);
};

/// value, null, null_sd, p, p_family: the columns that every measurement ends with.
[[nodiscard]] std::vector<Column> with_measurement(std::vector<Column> leading);

[[nodiscard]] nlohmann::ordered_json json_of(const Table& table);
/// RFC 4180: a header, then the rows; numbers so that reading them gives the same double.
[[nodiscard]] std::string csv_of(const Table& table);

}  // namespace aloft::analysis
