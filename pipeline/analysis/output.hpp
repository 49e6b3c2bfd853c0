#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "pipeline/analysis/analysis.hpp"

namespace aloft::analysis {

inline constexpr const char* kFile = "analysis.json";
inline constexpr int kVersion = 1;  ///< of its form (docs/analysis.md)

/// An analysis with what it is of.
struct Report {
  const Analysis& result;
  nlohmann::ordered_json checkpoint, second, corpus;  ///< null: none
  const AnalysisParams& params;
  std::vector<std::string> notes;
};
/// Every file that write() may leave.
[[nodiscard]] std::vector<std::string> file_names();
/// Writes NAME.csv of every table and, last, analysis.json; removes tables of a former analysis that this one
/// does not have. Returns the files' names. Each appears whole or not at all.
std::vector<std::string> write(const std::string& folder, const Report& report);

/// The table `claims` for people, a line each.
[[nodiscard]] std::string summary(const Analysis& result);

}  // namespace aloft::analysis
