#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

namespace aloft::cuda {

/// values[i] = the largest of values[0..i], for every item of [batch][n]. cuSOLVER's eigenvalues ascend but
/// for rounding: of two equal ones XsyevBatched gave the larger first, by one unit in the last place (seen on
/// an H200). What is built on them (sigma descending, differences >= 0) needs an order without exceptions,
/// and a value moved within the rounding of its neighbours is as good as it was.
void settle_ascending(double* values, std::int64_t n, std::int64_t batch, cudaStream_t stream);

}  // namespace aloft::cuda
