#include "tests/simt/kernel_coverage.hpp"

#include "tests/kernel_list.hpp"
#include "tests/simt/engine.hpp"
#include "tests/simt/symbols.hpp"

namespace simt {
namespace {

bool was_launched(const std::string& kernel) {
  for (const void* address : launched()) {
    const std::string name = function_name(address);
    for (const char* after : {"(", "<"})
      if (name.find("::" + kernel + after) != std::string::npos) return true;
  }
  return false;
}

class KernelCoverage final : public testing::Environment {
 public:
  void TearDown() override {
    for (const auto& [kernel, file] : aloft::kernels_in_source())
      if (!was_launched(kernel)) ADD_FAILURE() << kernel << " in " << file << " was never launched by a test";
  }
};

}  // namespace

testing::Environment* kernel_coverage() { return new KernelCoverage; }

TEST(SimtCoverage, AKernelNobodyLaunchedIsMissed) {
  EXPECT_FALSE(was_launched("no_such_kernel"));
  EXPECT_GE(aloft::kernels_in_source().size(), 3u);
}

}  // namespace simt
