#include "kernels/cuda/skew_spectrum.cuh"

#include "host/error.hpp"
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

void CudaLinearOps::skew_spectrum(ConstMatrixView a, double* sigma, MatrixView left, MatrixView right) {
  const std::int64_t n = a.rows, m = n / 2;
  expects(a.cols == n, "skew_spectrum: a [n, n]");
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
  hermitian_of_skew(a, largest.data(), h.data.data(), stream);
  vendor_.eigh_complex(h.data.data(), n, a.batch, values.data(), vectors);
  settle_ascending(values.data(), n, a.batch, stream);
  fold_pairs(values.data(), n, a.batch, sigma, stream);
  restore_magnitude(sigma, m, a.batch, largest.data(), stream);
  if (!vectors) return;

  Matrix planes(device_, 2 * m, n, a.batch);  // row-major [2m, n] is column-major [n, 2m]: what QR takes
  Buffer<double> diagonal_r(device_, static_cast<std::size_t>(a.batch * 2 * m));
  planes_of(h.data.data(), n, a.batch, planes.data.data(), stream);
  vendor_.qr(planes.data.data(), n, 2 * m, a.batch, diagonal_r.data());
  deal_planes(planes.data.data(), diagonal_r.data(), left, right, stream);
}

}  // namespace aloft::cuda
