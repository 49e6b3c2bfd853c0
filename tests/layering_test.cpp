#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/paths.hpp"

// tools -> pipeline -> kernels -> host: includes only ever point this way, and pipeline/ knows nothing of
// CUDA.

namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kRooms{"host", "kernels", "pipeline", "tools"};  // lowest first

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
    for (const auto& file : sources(room)) EXPECT_LE(lines(file).size(), 400u) << file;
}

}  // namespace
