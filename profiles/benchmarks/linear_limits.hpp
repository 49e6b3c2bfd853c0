#pragma once
#include "profiles/benchmarks/harness.hpp"

namespace aloft::profiles {

/// Floating-point operations a second (a multiply-add counts as two) of double-precision c = a·b through the
/// contract, large square matrices; median, in the same run as the figures beside it.
[[nodiscard]] double gemm_flops_per_second(const Backend& backend, Timer& timer);

}  // namespace aloft::profiles
