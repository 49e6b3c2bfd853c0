#include "pipeline/analysis/output.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>

#include "host/atomic_file.hpp"

namespace aloft::analysis {
namespace {

/// Every table that an analysis may have.
constexpr const char* kTables[] = {"corpus",       "frontier", "weights", "profiles", "twinning",
                                   "correlations", "bands",    "match",   "heads",    "drift",
                                   "positions",    "labels",   "spectra", "claims"};

std::string text_of(const Cell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  if (const auto* whole = std::get_if<std::int64_t>(&cell)) return std::to_string(*whole);
  if (const auto* real = std::get_if<double>(&cell)) return fmt::format("{:.4g}", *real);
  return "-";
}

/// A table as a member of an object, a row a line.
std::string text_of(const Table& table) {
  nlohmann::ordered_json head = json_of(table);
  const nlohmann::ordered_json rows = std::move(head["rows"]);
  head.erase("rows");
  std::string out = fmt::format("  {}: {}", nlohmann::ordered_json(table.name).dump(), head.dump());
  out.replace(out.size() - 1, 1, ", \"rows\": [");
  for (std::size_t i = 0; i < rows.size(); ++i)
    out.append(i == 0 ? "\n   " : ",\n   ").append(rows[i].dump());
  return out.append("\n  ]}");
}

}  // namespace

std::vector<std::string> file_names() {
  std::vector<std::string> out;
  for (const char* table : kTables) out.push_back(table + std::string(".csv"));
  out.emplace_back(kFile);
  return out;
}

std::vector<std::string> write(const std::string& folder, const Report& r) {
  std::string tables;
  std::vector<std::string> names;
  std::vector<std::unique_ptr<AtomicFile>> files;
  const auto add = [&](const std::string& name, const std::string& text) {
    names.push_back(name);
    files.push_back(std::make_unique<AtomicFile>((std::filesystem::path(folder) / name).string()));
    files.back()->write(text);
  };
  for (const Table& table : r.result.tables) {
    tables += (tables.empty() ? "" : ",\n") + text_of(table);
    add(table.name + ".csv", csv_of(table));
  }
  const nlohmann::ordered_json all{{"format", "aloft-analysis"},
                                   {"version", kVersion},
                                   {"checkpoint", r.checkpoint},
                                   {"second", r.second},
                                   {"corpus", r.corpus},
                                   {"nulls",
                                    {{"permutations", r.params.permutations},
                                     {"draws", r.params.draws},
                                     {"shuffled_tokens", r.result.shuffled_tokens},
                                     {"seed", r.params.seed}}},
                                   {"notes", r.notes}};
  // A path need not be UTF-8, and JSON has to be.
  std::string text = all.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.replace(text.size() - 2, 2,
               ",\n \"tables\": {\n" + tables + "\n }\n}\n");  // in place of its last brace
  add(kFile, text);
  std::vector<AtomicFile*> together;
  for (const auto& file : files) together.push_back(file.get());
  AtomicFile::commit_together(together);
  for (const char* table : kTables)
    if (std::find(names.begin(), names.end(), table + std::string(".csv")) == names.end())
      std::filesystem::remove(std::filesystem::path(folder) / (table + std::string(".csv")));
  return names;
}

std::string summary(const Analysis& result) {
  std::string out = fmt::format("{:<36} {:>5} {:>4} {:>3} {:>10} {:>10} {:>9}  {}\n", "effect", "layer",
                                "head", "lag", "value", "null", "p", "found");
  for (const Table& table : result.tables) {
    if (table.name != "claims") continue;
    for (const auto& row : table.rows)
      out += fmt::format("{:<36} {:>5} {:>4} {:>3} {:>10} {:>10} {:>9}  {}\n", text_of(row[0]),
                         text_of(row[1]), text_of(row[2]), text_of(row[3]), text_of(row[5]), text_of(row[6]),
                         text_of(row[7]), std::get<std::int64_t>(row[8]) == 1 ? "yes" : "no");
  }
  return out + "(of each kind the row furthest from its null; p is family-wise, yes: below 0.01)\n";
}

}  // namespace aloft::analysis
