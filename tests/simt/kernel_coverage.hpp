#pragma once
#include <gtest/gtest.h>

namespace simt {

/// At the end of a full run: fails for every kernel of kernels/cuda/ that was never launched.
[[nodiscard]] testing::Environment* kernel_coverage();

}  // namespace simt
