#include <gtest/gtest.h>
#include <omp.h>

#include <cstdlib>
#include <string>

#include "tests/simt/cudart.hpp"
#include "tests/simt/engine.hpp"
#include "tests/simt/kernel_coverage.hpp"

// The test program of the CUDA backend without a GPU: the conformance suites, with backend "cuda" executed by
// the shim, and the shim's own tests. Everything runs once per seed; a seed is a schedule of threads, blocks
// and streams (0: all in order).
//
//   SIMT_SEED=s    the first seed (default 1)
//   SIMT_SEEDS=n   how many (default 1)

namespace {

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// Sets the seed of an iteration, and gives every test a runtime without errors of its predecessors.
class Seeds final : public testing::EmptyTestEventListener {
 public:
  explicit Seeds(std::uint64_t first) : first_(first) {}

  void OnTestIterationStart(const testing::UnitTest&, int iteration) override {
    seed_ = first_ + static_cast<std::uint64_t>(iteration);
    std::printf("schedule seed %llu\n", static_cast<unsigned long long>(seed_));
    ::setenv("SIMT_SEED", std::to_string(seed_).c_str(), 1);  // of the programs that tests start
  }
  void OnTestStart(const testing::TestInfo&) override {
    simt::config = {};
    simt::config.seed = seed_;
    simt::config.resident = 1 + static_cast<unsigned>(seed_ % 3);
    simt::runtime.capacity = simt::Runtime{}.capacity;
    simt::runtime.devices = simt::Runtime{}.devices;
    simt::runtime.busy = simt::Runtime{}.busy;
    (void)cudaSetDevice(0);
    simt::runtime.reset(seed_);
  }
  void OnTestEnd(const testing::TestInfo&) override {
    if (!simt::runtime.misuse.empty()) ADD_FAILURE() << simt::runtime.misuse;
    simt::runtime.misuse.clear();
  }

 private:
  std::uint64_t first_, seed_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  omp_set_num_threads(1);  // host code beside the kernels is short, and its workers would spin
  const std::string everything =
      "*/cuda:*/cuda_*:Simt*:*/Simt*:Cuda*:*/Cuda*";  // the CPU backend has its own program
  testing::GTEST_FLAG(filter) = everything;
  testing::GTEST_FLAG(repeat) = static_cast<int>(from_environment("SIMT_SEEDS", 1));
  testing::InitGoogleTest(&argc, argv);
  testing::UnitTest::GetInstance()->listeners().Append(new Seeds(from_environment("SIMT_SEED", 1)));
  if (testing::GTEST_FLAG(filter) == everything) testing::AddGlobalTestEnvironment(simt::kernel_coverage());
  return RUN_ALL_TESTS();
}
