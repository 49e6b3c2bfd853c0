#pragma once
#include <gtest/gtest.h>

namespace simt {

/// At the end of a full run: fails for every kernel of kernels/cuda/ that was never launched. Of a run in
/// shards (GTEST_TOTAL_SHARDS), the one that ends last speaks for all; they meet in the file SIMT_COVERAGE,
/// new for each run.
[[nodiscard]] testing::Environment* kernel_coverage();

}  // namespace simt
