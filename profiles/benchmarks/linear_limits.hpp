#pragma once
#include "profiles/benchmarks/harness.hpp"

namespace aloft::profiles {

/// Floating-point operations a second (a multiply-add counts as two) of double-precision c = a·b through the
/// contract, large square matrices; median, in the same run as the figures beside it.
[[nodiscard]] double gemm_flops_per_second(const Backend& backend, Timer& timer, Scale scale);

/// CUDA: seconds to fetch row j of x [V, d] for every entry (i, j) of a, in a's order, and do no more than
/// add up what came; median. @pre device is a CudaDevice
[[nodiscard]] double gather_seconds(Device& device, Timer& timer, RealCsrView a, ConstMatrixView x);

}  // namespace aloft::profiles
