#include <gtest/gtest.h>

#include "tests/cli_helpers.hpp"
#include "tests/paths.hpp"

// ALOFT_CUDA_SYNC=1: whose fault it is.

namespace aloft::cli_tests {
namespace {

class CudaSync : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    ::setenv("ALOFT_PROGRAM", built_simt_program().c_str(), 1);
    corpus_ = folder_.file("corpus.txt", sample_text(3000, 5, 100));
  }
  void TearDown() override {
    for (const char* name : {"ALOFT_PROGRAM", "ALOFT_CUDA_SYNC", "SIMT_FAIL_KERNEL"}) ::unsetenv(name);
  }
  [[nodiscard]] Outcome init() const {
    return run({"init",
                "--quiet",
                "--force",
                "--corpus",
                corpus_,
                "--vocab-size",
                "60",
                "--arch",
                "llama",
                "--layers",
                "2",
                "--lags",
                "2",
                "--d-model",
                "32",
                "--heads",
                "2",
                "--recipe",
                "spread",
                "--noise",
                "0",
                "--null-tokens",
                "0",
                "--output",
                folder_ / "run",
                "--backend",
                "cuda"});
  }
  Folder folder_;
  std::string corpus_;
};

TEST_P(CudaSync, NamesTheKernelThatFailed) {
  ::setenv("SIMT_FAIL_KERNEL", GetParam(), 1);
  const Outcome without = init();
  EXPECT_EQ(without.code, 1) << without;
  EXPECT_EQ(without.err.find(GetParam()), std::string::npos) << "who waits next is to blame: " << without;
  ::setenv("ALOFT_CUDA_SYNC", "1", 1);
  const Outcome with = init();
  EXPECT_EQ(with.code, 1) << with;
  EXPECT_NE(with.err.find(std::string("aloft: ") + GetParam() + " failed: cudaErrorLaunchFailure"),
            std::string::npos)
      << with;
  ::unsetenv("SIMT_FAIL_KERNEL");
  EXPECT_EQ(init().code, 0);
}

// A kernel, what each_element.cuh makes one of: a template, a function, one of a batch; and one of the linear
// algebra.
INSTANTIATE_TEST_SUITE_P(Each, CudaSync,
                         testing::Values("count_pairs_shared", "key_by_column", "pack_byte",
                                         "skew_to_hermitian", "skew_tiles"),
                         [](const auto& kernel) { return kernel.param; });

}  // namespace
}  // namespace aloft::cli_tests
