#include "tests/simt/kernel_coverage.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <optional>
#include <set>
#include <string>

#include "tests/cli_helpers.hpp"
#include "tests/kernel_list.hpp"
#include "tests/simt/engine.hpp"
#include "tests/simt/symbols.hpp"

namespace simt {
namespace {

using Names = std::set<std::string>;

bool was_launched(const std::string& kernel) {
  for (const void* address : launched()) {
    const std::string name = function_name(address);
    for (const char* after : {"(", "<", ",", ">"})  // the last two: of each_element<&name, ...>
      if (name.find("::" + kernel + after) != std::string::npos) return true;
  }
  return false;
}

Names launched_here() {
  Names out;
  for (const auto& [kernel, file] : aloft::kernels_in_source())
    if (was_launched(kernel)) out.insert(kernel);
  return out;
}

/// Adds what a shard launched to the file. Returns the kernels of all once every shard has added its own.
std::optional<Names> launched_by_all(const std::string& file, const Names& kernels, const std::string& shard,
                                     std::size_t shards) {
  const std::string end = "end of shard ";
  const int lock = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock < 0 || ::flock(lock, LOCK_EX) != 0) throw std::runtime_error(file + ": cannot be locked");
  {
    std::ofstream out(file, std::ios::app);
    for (const std::string& kernel : kernels) out << kernel << '\n';
    out << end << shard << '\n';
  }
  Names all, ended;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) (line.starts_with(end) ? ended : all).insert(line);
  ::close(lock);
  if (ended.size() < shards) return std::nullopt;
  return all;
}

class KernelCoverage final : public testing::Environment {
 public:
  void TearDown() override {
    std::optional<Names> all = launched_here();
    const char *shards = std::getenv("GTEST_TOTAL_SHARDS"), *shard = std::getenv("GTEST_SHARD_INDEX"),
               *file = std::getenv("SIMT_COVERAGE");
    if (shards != nullptr && shard != nullptr && std::atoi(shards) > 1) {
      ASSERT_NE(file, nullptr) << "no shard alone can say which kernels no test launches: set SIMT_COVERAGE";
      all = launched_by_all(file, *all, shard, static_cast<std::size_t>(std::atoi(shards)));
    }
    if (!all) return;
    for (const auto& [kernel, source] : aloft::kernels_in_source())
      if (!all->contains(kernel))
        ADD_FAILURE() << kernel << " in " << source << " was never launched by a test";
  }
};

}  // namespace

testing::Environment* kernel_coverage() { return new KernelCoverage; }

TEST(SimtCoverage, AKernelNobodyLaunchedIsMissed) {
  EXPECT_FALSE(was_launched("no_such_kernel"));
  EXPECT_GE(aloft::kernels_in_source().size(), 3u);
}

TEST(SimtCoverage, ShardsAddUpAndTheLastSpeaksForAll) {
  const aloft::cli_tests::Folder folder;
  const std::string file = folder / "coverage";
  EXPECT_FALSE(launched_by_all(file, {"a", "b"}, "2", 3));
  EXPECT_FALSE(launched_by_all(file, {}, "0", 3));
  EXPECT_FALSE(launched_by_all(file, {"b"}, "0", 3));  // a second time round, of another schedule
  EXPECT_EQ(launched_by_all(file, {"c"}, "1", 3), (Names{"a", "b", "c"}));
}

}  // namespace simt
