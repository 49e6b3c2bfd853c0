#pragma once
#include "kernels/ops.hpp"

namespace aloft::cpu {

inline constexpr std::int64_t kSparseTile = 32;  ///< columns of doubles that spmm() takes at a time

/// The linear half of the contract (kernels/ops.hpp says what each does). Implemented by subject:
/// sparse.cpp, sparse_real.cpp, dense.cpp, elementwise.cpp, softmax.cpp, orthonormalize.cpp, spectrum.cpp,
/// skew_spectrum.cpp, fourier.cpp, scratch.cpp.
class CpuLinearOps final : public LinearOps {
 public:
  explicit CpuLinearOps(Device& device) : device_(device) {}

#include "kernels/linear_ops_methods.inc"

 private:
  Device& device_;
};

}  // namespace aloft::cpu
