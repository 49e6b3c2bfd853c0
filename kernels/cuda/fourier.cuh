#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

// The elementwise steps of convolve_circulant around the transforms. z, w: [n, n] complex as (re, im) pairs.

namespace aloft::cuda {

/// z = a, a [n, n] real.
void to_complex(const double* a, std::int64_t n, double* z, cudaStream_t stream);
/// z[i][j] = k0[(j − i) mod n], k0 [n] real.
void circulant(const double* k0, std::int64_t n, double* z, cudaStream_t stream);
/// z = z ∘ w.
void multiply_pointwise(double* z, const double* w, std::int64_t n, cudaStream_t stream);
/// out = factor·Re z, out [n, n] real.
void real_part(const double* z, std::int64_t n, double factor, double* out, cudaStream_t stream);

}  // namespace aloft::cuda
