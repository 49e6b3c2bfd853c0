#include <gtest/gtest.h>

#include <algorithm>

#include "tests/kernel_list.hpp"

// tests/README.md has a row for every CUDA kernel: | `kernel` | file | suites |.

namespace aloft {
namespace {

struct Row {
  std::string file, suites;
};

std::map<std::string, Row> rows() {
  std::map<std::string, Row> out;
  std::istringstream in(text_of(std::filesystem::path(source_folder()) / "tests/README.md"));
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("| `", 0) != 0) continue;
    const std::size_t name_end = line.find('`', 3);
    const std::size_t file = line.find('|', name_end) + 2, file_end = line.find(" |", file);
    if (line.find(".cu |") == std::string::npos && line.find(".cuh |") == std::string::npos)
      continue;  // the table of programs
    const std::size_t suites = file_end + 3;
    const std::string kernel = line.substr(3, name_end - 3);
    const Row row{line.substr(file, file_end - file), line.substr(suites, line.rfind(" |") - suites)};
    EXPECT_TRUE(out.emplace(kernel, row).second) << kernel << " has two rows";
  }
  return out;
}

std::string all_tests() {
  std::string out;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(std::filesystem::path(source_folder()) / "tests"))
    if (entry.path().extension() == ".cpp") out += text_of(entry.path());
  return out;
}

TEST(KernelTable, HasEveryKernelAndNothingElse) {
  const auto kernels = kernels_in_source();
  const auto table = rows();
  EXPECT_GE(kernels.size(), 3u);
  for (const auto& [kernel, file] : kernels) {
    const auto row = table.find(kernel);
    ASSERT_NE(row, table.end()) << kernel << " (" << file << ") is not in the table of tests/README.md";
    EXPECT_EQ(row->second.file, file) << kernel;
  }
  for (const auto& [kernel, row] : table) EXPECT_EQ(kernels.count(kernel), 1u) << kernel << " is no kernel";
}

TEST(KernelTable, NamesTestsThatExist) {
  const std::string tests = all_tests();
  for (const auto& [kernel, row] : rows()) {
    EXPECT_FALSE(row.suites.empty()) << kernel;
    std::istringstream words(row.suites);
    for (std::string suite; std::getline(words, suite, ',');) {
      suite.erase(0, suite.find_first_not_of(' '));
      const bool found = tests.find("TEST_P(" + suite + ",") != std::string::npos ||
                         tests.find("TEST_F(" + suite + ",") != std::string::npos ||
                         tests.find("TEST(" + suite + ",") != std::string::npos;
      EXPECT_TRUE(found) << kernel << ": no suite is called " << suite;
    }
  }
}

}  // namespace
}  // namespace aloft
