#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "host/structured_text.hpp"

namespace aloft {
namespace {

constexpr std::size_t kTableSample = std::size_t{1} << 16;
constexpr std::size_t kFewestNamed = 2;    // records of a file that is called .csv
constexpr std::size_t kFewestUnnamed = 5;  // of one that is not
constexpr std::size_t kLongestName = 40;   // of a column

using TableRecord = std::vector<std::string>;

struct Table {
  std::vector<TableRecord> records;  ///< blank lines left out
  std::size_t quoted = 0;            ///< cells in quotation marks
  std::size_t spaced = 0;            ///< separators outside of them that a blank follows
  std::size_t separators = 0;
};

/// RFC 4180: cells may stand in quotation marks, which are doubled inside, and hold separators and line
/// breaks there. A quotation mark within a cell is a character like any other.
class TableParser {
 public:
  TableParser(std::string_view text, char separator) : text_(text), separator_(separator) {}

  Table parse(bool whole) {
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (quoted_) {
        if (c != '"') {
          cell_ += c;
        } else if (at_ < text_.size() && text_[at_] == '"') {
          cell_ += text_[at_++];
        } else {
          quoted_ = false;
        }
      } else if (c == '"' && cell_.empty()) {
        quoted_ = true;
        ++table_.quoted;
      } else if (c == separator_) {
        ++table_.separators;
        table_.spaced += at_ < text_.size() && text_[at_] == ' ' ? 1 : 0;
        end_cell();
      } else if (c == '\n') {
        end_record();
      } else if (c != '\r') {
        cell_ += c;
      }
    }
    if (whole && !quoted_) end_record();  // else it is cut off
    return std::move(table_);
  }

 private:
  void end_cell() {
    record_.push_back(std::move(cell_));
    cell_.clear();
  }
  void end_record() {
    if (record_.empty() && cell_.empty()) return;
    end_cell();
    table_.records.push_back(std::move(record_));
    record_.clear();
  }

  std::string_view text_;
  char separator_;
  std::size_t at_ = 0;
  bool quoted_ = false;
  std::string cell_;
  TableRecord record_;
  Table table_;
};

/// Whether 19 in 20 records have as many cells as the first, more than one.
bool same_columns(const Table& table) {
  const std::size_t columns = table.records.front().size();
  const auto same = static_cast<std::size_t>(std::count_if(
      table.records.begin(), table.records.end(), [&](const TableRecord& r) { return r.size() == columns; }));
  return columns > 1 && 20 * same >= 19 * table.records.size();
}

bool is_column_name(const std::string& cell) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !cell.empty() && cell.size() <= kLongestName && letter(cell.front()) && cell.back() != '.' &&
         std::all_of(cell.begin(), cell.end(), [&](char c) {
           return letter(c) || (c >= '0' && c <= '9') || c == ' ' || c == '-' || c == '.';
         });
}

/// Whether these could be the names of columns: short, of letters, no two the same.
bool has_header(const Table& table) {
  const TableRecord& first = table.records.front();
  return std::all_of(first.begin(), first.end(), is_column_name) &&
         std::set<std::string>(first.begin(), first.end()).size() == first.size();
}

/// The column with the longest cells.
std::size_t text_column(const Table& table) {
  std::vector<std::size_t> bytes(table.records.front().size());
  for (std::size_t r = 1; r < table.records.size(); ++r)
    for (std::size_t c = 0; c < std::min(bytes.size(), table.records[r].size()); ++c)
      bytes[c] += table.records[r][c].size();
  return static_cast<std::size_t>(std::max_element(bytes.begin(), bytes.end()) - bytes.begin());
}

bool is_table(const Table& table, char separator, bool named) {
  if (table.records.size() < (named ? kFewestNamed : kFewestUnnamed)) return false;
  // One column of texts, each in quotation marks.
  if (named && table.separators == 0) return 2 * table.quoted >= table.records.size();
  if (!same_columns(table)) return false;
  if (named) return true;
  if (separator == '\t') {  // indented lines begin with tabs
    const auto indented = std::count_if(table.records.begin(), table.records.end(),
                                        [](const TableRecord& r) { return r.front().empty(); });
    return 2 * static_cast<std::size_t>(indented) < table.records.size();
  }
  // A comma of prose or of source code is mostly followed by a blank.
  return has_header(table) && 10 * table.spaced < table.separators;
}

struct FoundTable {
  Table table;
  char separator;
};

std::string command_for(const FoundTable& found) {
  const auto& [table, separator] = found;
  const std::string options = separator == ','    ? ""
                              : separator == '\t' ? ", delimiter='\\t'"
                                                  : fmt::format(", delimiter='{}'", separator);
  const bool header = has_header(table);
  const std::size_t column = text_column(table);
  return fmt::format(
      "python3 -c \"import csv, sys; csv.field_size_limit(1 << 30); [print(r[{}], end='{}') for r in "
      "csv.{}(open(0, encoding='utf-8-sig', newline=''){})]\"",
      header ? "'" + table.records.front()[column] + "'" : std::to_string(column), kRecordSeparator,
      header ? "DictReader" : "reader", options);
}

}  // namespace

std::optional<StructuredText> structured_table(std::string_view head, bool whole,
                                               std::string_view extension) {
  const bool named = extension == ".csv" || extension == ".tsv" || extension == ".tab";
  const std::string_view sample = head.substr(0, kTableSample);
  whole = whole && sample.size() == head.size();
  std::optional<FoundTable> found;
  for (const char separator : {'\t', ',', ';', '|'}) {
    if (sample.find(separator) == std::string_view::npos && !(named && separator == ',')) continue;
    Table table = TableParser(sample, separator).parse(whole);
    if (!is_table(table, separator, named)) continue;
    const bool within_texts = 2 * table.spaced > table.separators;  // commas of sentences, if others fit too
    if (!found || !within_texts) found = FoundTable{std::move(table), separator};
    if (!within_texts) break;
  }
  if (!found) return std::nullopt;
  return StructuredText{found->separator == '\t' ? "tab-separated values" : "CSV", command_for(*found)};
}

std::optional<StructuredText> structured_text(std::string_view head, bool whole, std::string_view extension) {
  constexpr std::string_view kMark = "\xEF\xBB\xBF";
  if (head.starts_with(kMark)) head.remove_prefix(kMark.size());
  if (auto json = structured_json(head, whole, extension)) return json;
  return structured_table(head, whole, extension);
}

}  // namespace aloft
