#include "kernels/cpu/linear_ops.hpp"

#include "kernels/cpu/backend.hpp"

namespace aloft::cpu {

std::unique_ptr<LinearOps> make_linear_ops(Device& device) { return std::make_unique<CpuLinearOps>(device); }

}  // namespace aloft::cpu
