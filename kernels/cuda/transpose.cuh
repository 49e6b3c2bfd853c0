#pragma once
#include <cuda_runtime_api.h>

#include "kernels/matrix.hpp"

namespace aloft::cuda {

/// out [batch][cols, rows] = every item of a [rows, cols] transposed; out is not a, either may be a block.
/// row_sign, if not null, [batch][rows]: rows of a whose entry there is negative change their sign.
void transpose_dense(ConstMatrixView a, const double* row_sign, MatrixView out, cudaStream_t stream);

}  // namespace aloft::cuda
