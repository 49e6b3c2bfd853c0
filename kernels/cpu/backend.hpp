#pragma once
#include <string>

#include "kernels/ops.hpp"

namespace aloft::cpu {

/// threads: OpenMP workers, 0 = all processors this process may use. BLAS itself runs single-threaded (its
/// results depend on its thread count); parallelism is over batches and fixed blocks.
[[nodiscard]] Backend make_backend(int threads);
[[nodiscard]] std::string describe();  ///< processor count and BLAS
[[nodiscard]] std::unique_ptr<CountOps> make_count_ops(Device& device);
[[nodiscard]] std::unique_ptr<LinearOps> make_linear_ops(Device& device);

}  // namespace aloft::cpu
