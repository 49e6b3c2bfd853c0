#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/paths.hpp"

// tools -> pipeline -> kernels -> host: includes only ever point this way, and so they do between the rooms
// inside pipeline/, which knows nothing of CUDA.

namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kRooms{"host", "kernels", "pipeline", "tools"};  // lowest first
/// Inside pipeline/, lowest first, each with its page to begin with.
const std::vector<std::pair<std::string, std::string>> kInnerRooms{
    {"base", "context.hpp"},      {"model", "model.hpp"},   {"counts", "counts.hpp"},
    {"spectra", "spectra.hpp"},   {"offset", "offset.hpp"}, {"recipes", "recipe.hpp"},
    {"analysis", "analysis.hpp"}, {"run", "run.hpp"}};
constexpr std::size_t kMostInnerArrows = 20;
constexpr std::size_t kLongestFunction = 80, kLongestFile = 400;

std::vector<fs::path> sources(const std::string& room) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(aloft::source_folder()) / room)) {
    const auto ext = entry.path().extension();
    if (ext == ".cpp" || ext == ".hpp" || ext == ".cu" || ext == ".cuh") out.push_back(entry.path());
  }
  return out;
}

std::vector<std::string> lines(const fs::path& path) {
  std::ifstream in(path);
  std::vector<std::string> out;
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

TEST(Layering, IncludesPointOnlyDownward) {
  int seen = 0;
  for (std::size_t level = 0; level < kRooms.size(); ++level)
    for (const auto& file : sources(kRooms[level]))
      for (const auto& line : lines(file)) {
        if (line.rfind("#include \"", 0) != 0) continue;
        const std::string target = line.substr(10, line.find('"', 10) - 10);
        const auto room = std::find(kRooms.begin(), kRooms.end(), target.substr(0, target.find('/')));
        ASSERT_NE(room, kRooms.end()) << file << " includes " << target << ": write the path from the root";
        EXPECT_LE(static_cast<std::size_t>(room - kRooms.begin()), level) << file << " includes " << target;
        ++seen;
      }
  EXPECT_GT(seen, 30);  // the walk found the code
}

/// Where "room/..." is in that list; its size when it is not.
std::size_t inner_level(const std::string& path) {
  std::size_t level = 0;
  while (level < kInnerRooms.size() && path.rfind(kInnerRooms[level].first + "/", 0) != 0) ++level;
  return level;
}

TEST(Layering, InnerRoomsIncludeOnlyDownward) {
  const fs::path pipeline = fs::path(aloft::source_folder()) / "pipeline";
  std::set<std::pair<std::size_t, std::size_t>> arrows;
  for (const auto& file : sources("pipeline")) {
    const std::size_t from = inner_level(fs::relative(file, pipeline).string());
    ASSERT_LT(from, kInnerRooms.size()) << file << " is in no room";
    for (const auto& line : lines(file)) {
      const std::string begin = "#include \"pipeline/";
      if (line.rfind(begin, 0) != 0) continue;
      const std::size_t to = inner_level(line.substr(begin.size()));
      ASSERT_LT(to, kInnerRooms.size()) << file << ": " << line;
      EXPECT_LE(to, from) << file << ": " << line;
      if (to != from) arrows.insert({from, to});
    }
  }
  EXPECT_LE(arrows.size(), kMostInnerArrows) << "a room more than needed knows another";
  EXPECT_GE(arrows.size(), kInnerRooms.size() - 1);  // the walk found them
}

TEST(Layering, EachInnerRoomHasAPageToBeginWith) {
  for (const auto& [room, page] : kInnerRooms) {
    bool says = false;
    for (const auto& line : lines(fs::path(aloft::source_folder()) / "pipeline" / room / page))
      says |= line.find("The page to begin with") != std::string::npos;
    EXPECT_TRUE(says) << room << "/" << page;
  }
}

TEST(Layering, PipelineHasNeitherCudaNorPreprocessorBranches) {
  for (const auto& file : sources("pipeline"))
    for (const auto& line : lines(file)) {
      EXPECT_EQ(line.find("cuda_runtime"), std::string::npos) << file;
      EXPECT_EQ(line.find("#if"), std::string::npos) << file;
    }
}

TEST(Layering, NoFileAboveFourHundredLines) {
  auto rooms = kRooms;
  rooms.emplace_back("tests");
  for (const auto& room : rooms)
    for (const auto& file : sources(room)) EXPECT_LE(lines(file).size(), kLongestFile) << file;
}

/// Lines of the function whose body opens on that line, its signature included; 0 where it opens no function.
std::size_t function_length(const std::vector<std::string>& all, std::size_t open) {
  if (all[open].empty() || all[open].back() != '{') return 0;
  const auto ends_statement = [](const std::string& line) {
    const auto last = line.find_last_not_of(' ');
    return last == std::string::npos || std::string(";{}:").find(line[last]) != std::string::npos ||
           line.find("//") != std::string::npos;
  };
  std::size_t first = open;
  std::string head = all[open];
  while (first > 0 && !ends_statement(all[first - 1])) head = all[--first] + head;
  const auto begin = head.find_first_not_of(' ');
  for (const char* other :
       {"namespace", "class ", "struct ", "enum ", "if ", "for ", "while ", "switch ", "}"})
    if (head.rfind(other, begin) == begin) return 0;
  if (head.find('(') == std::string::npos || begin > 2) return 0;
  const std::string close = std::string(begin, ' ') + "}";
  for (std::size_t end = open + 1; end < all.size(); ++end)
    if (all[end].rfind(close, 0) == 0) return end - first + 1;
  return 0;
}

/// Whether a comment near the line says why a function is long ("Long: ...").
bool has_a_reason(const std::vector<std::string>& all, std::size_t open) {
  for (std::size_t i = open - std::min<std::size_t>(open, 8); i < open; ++i)
    if (all[i].find("// Long: ") != std::string::npos) return true;
  return false;
}

TEST(Layering, NoFunctionAboveEightyLinesWithoutAReason) {
  std::size_t functions = 0;
  auto rooms = kRooms;
  rooms.emplace_back("tests");
  for (const auto& room : rooms)
    for (const auto& file : sources(room)) {
      const auto all = lines(file);
      for (std::size_t i = 0; i < all.size(); ++i) {
        const std::size_t length = function_length(all, i);
        functions += length > 0;
        EXPECT_TRUE(length <= kLongestFunction || has_a_reason(all, i))
            << file << ":" << i + 1 << ": " << length;
      }
    }
  EXPECT_GT(functions, 500U);  // the walk knows a function when it sees one
}

}  // namespace
