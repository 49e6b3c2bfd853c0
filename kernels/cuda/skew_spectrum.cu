#include "host/error.hpp"
#include "kernels/cuda/each_element.cuh"
#include "kernels/cuda/eigenvalue_order.cuh"
#include "kernels/cuda/linear_ops.hpp"
#include "kernels/cuda/magnitude.cuh"

// i·A is Hermitian with eigenvalues ±σ. For z with (iA)z = σz: A·Re z = σ·Im z and A·Im z = −σ·Re z, so
// l = √2·Im z, r = √2·Re z span the plane of σ with A = Σ σ(l rᵀ − r lᵀ). One batched library call serves all
// matrices at once.
//
// Why this is as accurate as the CPU's reduction, near-zero σ included. The library's eigenpairs are exact
// for iA + E, ‖E‖ of the order of eps·σ₁. Write H⁺ = Σ_{λ>0} λ z z*. A = 2·Im H⁺, and H ↦ H⁺ moves by at most
// ‖E‖ in the Frobenius norm (a projection on a convex cone), so the sum over the computed planes misses A by
// 2‖E‖, however close or degenerate the σ are. What suffers is orthogonality: z_jᵀ z_k (no conjugate), zero
// for exact vectors, is of the order of ‖E‖/(σ_j + σ_k), up to one where both σ vanish and z mixes with its
// conjugate. Householder QR of the planes in descending σ restores orthogonality at no cost: it moves column
// k by its products with *earlier* columns, σ_j >= σ_k, so that σ_k times the movement stays below ‖E‖/2 for
// every pair; where σ_k is itself within eps·σ₁ the column may go anywhere without being missed. Columns of
// a null space that came out dependent (real z has no Im z) are completed to a basis by the reflectors. QR
// also makes the factor √2 that unit length asks for.

namespace aloft::cuda {
namespace {

// The steps around the library's two decompositions; complex numbers are (re, im) pairs.

/// h [batch][n, n] = i·a, column-major, each item normalised (magnitude.cuh); of a [n, n] only the strict
/// lower triangle is read. Element (row r, column c) of the memory is h's (c, r): i·a[c][r] = −i·a[r][c].
/// Only r > c, h's upper triangle, will be read; the rest becomes zero.
__device__ void skew_to_hermitian(std::int64_t item, std::int64_t e, ConstMatrixView a,
                                  const std::uint64_t* largest, double2* h) {
  const std::int64_t n = a.cols, at = item * n * n + e, r = e / n, c = e - r * n;
  const double entry = r > c ? -a.data[at] * reciprocal_unit_of(largest[item]) : 0.0;
  h[at] = double2{0.0, entry};
}

/// sigma [batch][n/2], descending, from eigenvalues [batch][n] of h, ascending, which come as pairs ±σ.
__device__ void fold_eigenvalue_pair(std::int64_t item, std::int64_t k, const double* values, std::int64_t n,
                                     double* sigma) {
  sigma[item * (n / 2) + k] = (values[item * n + n - 1 - k] - values[item * n + k]) / 2;
}

/// planes [batch][2m, n], m = n/2: rows 2k and 2k + 1 are Im z and Re z of the eigenvector z of the k-th
/// largest eigenvalue; z: [batch][n, n], ascending, as rows. e: (k, j) of [m, n].
__device__ void split_eigenvector(std::int64_t item, std::int64_t e, const double2* z, std::int64_t n,
                                  double* planes) {
  const std::int64_t m = n / 2, k = e / n, j = e - k * n;
  const double2 entry = z[(item * n + n - 1 - k) * n + j];
  double* const plane = planes + (item * m + k) * 2 * n;
  plane[j] = entry.y;
  plane[n + j] = entry.x;
}

/// left, right [m, n] = rows 2k, 2k + 1 of planes, with the sign of diagonal_r [batch][2m].
__device__ void deal_plane_row(std::int64_t item, std::int64_t e, const double* planes,
                               const double* diagonal_r, MatrixView left, MatrixView right) {
  const std::int64_t n = left.cols, k = e / n, j = e - k * n, plane = item * left.rows + k;
  const double l = planes[plane * 2 * n + j], r = planes[plane * 2 * n + n + j];
  left.data[plane * n + j] = diagonal_r[2 * plane] < 0 ? -l : l;
  right.data[plane * n + j] = diagonal_r[2 * plane + 1] < 0 ? -r : r;
}

}  // namespace

void CudaLinearOps::skew_spectrum(ConstMatrixView a, double* sigma, MatrixView left, MatrixView right) {
  const std::int64_t n = a.rows, m = n / 2;
  expects(a.cols == n, "skew_spectrum: a [n, n]");
  expects(a.contiguous() && left.contiguous() && right.contiguous(), "skew_spectrum: contiguous");
  expects((left.data == nullptr) == (right.data == nullptr), "skew_spectrum: left and right, or neither");
  for (const MatrixView& side : {left, right})
    expects(side.data == nullptr || (side.rows == m && side.cols == n && side.batch == a.batch),
            "skew_spectrum: left and right [n/2, n]");
  if (a.batch == 0 || m == 0) return;
  const bool vectors = left.data != nullptr;
  const cudaStream_t stream = device_.stream();
  const Magnitudes largest = require_finite(device_, "skew_spectrum", a, Part::strict_lower);
  Matrix h(device_, n, 2 * n, a.batch);  // complex
  Buffer<double> values(device_, static_cast<std::size_t>(a.batch * n));
  auto* const h_complex = reinterpret_cast<double2*>(h.data.data());
  for_each_element_of_batch<skew_to_hermitian>(stream, a.batch, n * n, a, largest.data(), h_complex);
  vendor_.eigh_complex(h.data.data(), n, a.batch, values.data(), vectors);
  settle_ascending(values.data(), n, a.batch, stream);
  for_each_element_of_batch<fold_eigenvalue_pair>(stream, a.batch, m, values.data(), n, sigma);
  restore_magnitude(sigma, m, a.batch, largest.data(), stream);
  if (!vectors) return;

  Matrix planes(device_, 2 * m, n, a.batch);  // row-major [2m, n] is column-major [n, 2m]: what QR takes
  Buffer<double> diagonal_r(device_, static_cast<std::size_t>(a.batch * 2 * m));
  for_each_element_of_batch<split_eigenvector>(stream, a.batch, m * n, h_complex, n, planes.data.data());
  vendor_.qr(planes.data.data(), n, 2 * m, a.batch, diagonal_r.data());
  for_each_element_of_batch<deal_plane_row>(stream, a.batch, m * n, planes.data.data(), diagonal_r.data(),
                                            left, right);
}

}  // namespace aloft::cuda
