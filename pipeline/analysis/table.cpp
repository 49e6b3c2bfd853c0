#include "pipeline/analysis/table.hpp"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "host/error.hpp"

namespace aloft::analysis {
namespace {

nlohmann::ordered_json json_of(const Cell& cell) {
  return std::visit(
      [](const auto& x) -> nlohmann::ordered_json {
        if constexpr (std::is_same_v<std::decay_t<decltype(x)>, std::monostate>)
          return nullptr;
        else
          return x;
      },
      cell);
}

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + '"';
}

std::string csv_of(const Cell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return quoted(*text);
  if (const auto* whole = std::get_if<std::int64_t>(&cell)) return std::to_string(*whole);
  if (const auto* real = std::get_if<double>(&cell)) return fmt::format("{}", *real);
  return {};
}

}  // namespace

Cell number(double x) { return std::isfinite(x) ? Cell(x) : Cell(); }

void Table::add(std::vector<Cell> row) {
  expects(row.size() == columns.size(), "table " + name + ": a cell for every column");
  rows.push_back(std::move(row));
}

std::vector<Column> with_measurement(std::vector<Column> leading) {
  for (Column& column :
       std::vector<Column>{{"value", "as measured"},
                           {"null", "mean of the same measurement on what carries no information"},
                           {"null_sd", "its standard deviation"},
                           {"p", "how often the null is as far out as the value, by itself"},
                           {"p_family", "the same for the furthest of all like it"}})
    leading.push_back(std::move(column));
  return leading;
}

nlohmann::ordered_json json_of(const Table& table) {
  nlohmann::ordered_json columns = nlohmann::ordered_json::array(), rows = nlohmann::ordered_json::array();
  for (const Column& c : table.columns) columns.push_back({{"name", c.name}, {"about", c.about}});
  for (const auto& row : table.rows) {
    nlohmann::ordered_json cells = nlohmann::ordered_json::array();
    for (const Cell& c : row) cells.push_back(json_of(c));
    rows.push_back(std::move(cells));
  }
  return {{"about", table.about}, {"columns", std::move(columns)}, {"rows", std::move(rows)}};
}

std::string csv_of(const Table& table) {
  std::string out;
  const auto end_line = [&out] { out.replace(out.size() - 1, 1, "\r\n"); };  // in place of the last comma
  for (const Column& column : table.columns) out.append(quoted(column.name)).append(",");
  end_line();
  for (const auto& row : table.rows) {
    for (const Cell& c : row) out.append(csv_of(c)).append(",");
    end_line();
  }
  return out;
}

}  // namespace aloft::analysis
