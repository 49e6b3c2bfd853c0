#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/matrix.hpp"

// The steps of skew_spectrum around the library's two decompositions. Complex numbers are (re, im) pairs.

namespace aloft::cuda {

/// h [batch][n, n, 2] = i·a, the upper triangle, column-major, each item normalised (magnitude.cuh); a [n, n]
/// antisymmetric, only its strict lower triangle is read.
void hermitian_of_skew(ConstMatrixView a, const std::uint64_t* largest, double* h, cudaStream_t stream);
/// sigma [batch][n/2], descending, from eigenvalues [batch][n] of h, ascending, which come as pairs ±σ.
void fold_pairs(const double* values, std::int64_t n, std::int64_t batch, double* sigma, cudaStream_t stream);
/// planes [batch][2m, n], m = n/2: rows 2k and 2k + 1 are Im z and Re z of the eigenvector z of the
/// k-th largest eigenvalue; z: [batch][n, n, 2], ascending, as rows.
void planes_of(const double* z, std::int64_t n, std::int64_t batch, double* planes, cudaStream_t stream);
/// left, right [m, n] = rows 2k, 2k + 1 of planes, with the sign of diagonal_r [batch][2m].
void deal_planes(const double* planes, const double* diagonal_r, MatrixView left, MatrixView right,
                 cudaStream_t stream);

}  // namespace aloft::cuda
