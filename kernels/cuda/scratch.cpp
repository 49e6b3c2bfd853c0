#include <algorithm>

#include "kernels/cuda/linear_ops.hpp"
#include "kernels/cuda/softmax.hpp"
#include "kernels/cuda/sparse_product.hpp"

// What the calls allocate, in one place. The library's own workspaces are asked for (Vendor).

namespace aloft::cuda {
namespace {

/// Magnitudes, and what the library says of each item of a batch.
Footprint of_items(std::int64_t batch) { return on_device(matrix_bytes(batch + 1, 2)); }

}  // namespace

// Sort keys before and after, and what the sort itself needs; positive_pmi and to_real take less.
Footprint CudaLinearOps::sparse_scratch(std::int64_t cols, std::int64_t nnz) const {
  const auto entries = static_cast<std::uint64_t>(nnz), ids = static_cast<std::uint64_t>(cols + 1);
  return on_device((2 * entries + 1 + 3 * ids) * sizeof(std::uint64_t)) + vendor_.sort_pairs_scratch(nnz);
}

// A stripe spelled out, or narrow offsets.
Footprint CudaLinearOps::spmm_scratch(std::int64_t rows, std::int64_t cols, std::int64_t nnz,
                                      std::int64_t k) const {
  const ProductLimits limits;
  Footprint out = on_device(static_cast<std::uint64_t>(rows + 1) * sizeof(std::int32_t)) +
                  vendor_.spmm_scratch(rows, cols, std::min(nnz, limits.call_nnz), k);
  if (static_cast<double>(nnz) >= limits.dense_fill * static_cast<double>(rows) * static_cast<double>(cols))
    out.device = std::max(
        out.device, std::min(matrix_bytes(rows, cols), static_cast<std::uint64_t>(limits.stripe_bytes)));
  return out;
}

// A tile's products, and what is kept of its positions. (cuBLAS' workspace is its handle's own.)
Footprint CudaLinearOps::softmax_scratch(std::int64_t positions, std::int64_t classes, std::int64_t terms,
                                         std::int64_t models) const {
  const SoftmaxTile tile = softmax_tile(positions, classes, terms);
  return on_device(float_matrix_bytes(tile.positions, tile.classes, terms) +
                   matrix_bytes(tile.positions * models, softmax_state(terms, softmax_moment_count(terms))));
}

Footprint CudaLinearOps::orthonormalize_scratch(std::int64_t m, std::int64_t k, std::int64_t batch) const {
  return of_items(batch) + on_device(matrix_bytes(m + 1, k, batch)) + vendor_.qr_scratch(m, k);
}

Footprint CudaLinearOps::eigh_scratch(std::int64_t n, std::int64_t batch) const {
  return of_items(batch) + on_device(matrix_bytes(n, n, batch)) + vendor_.eigh_scratch(n, batch, false);
}

Footprint CudaLinearOps::eigh_top_scratch(std::int64_t n, std::int64_t batch) const {
  return eigh_scratch(n, batch);
}

// A copy, and where it is tall its transpose, and then the factors' own.
Footprint CudaLinearOps::svd_scratch(std::int64_t m, std::int64_t n, std::int64_t batch, bool vectors) const {
  const std::int64_t k = std::min(m, n);
  const Footprint copies = on_device(matrix_bytes(m, n, batch)),
                  library = vendor_.svd_scratch(k, std::max(m, n));
  if (m <= n) return of_items(batch) + copies + library;
  const std::uint64_t factors = vectors ? matrix_bytes(k, k + m, batch) : 0;
  return of_items(batch) +
         Footprint{copies.device + std::max(copies.device, factors + library.device), library.host};
}

// The complex matrix, and with the library's workspace gone the planes.
Footprint CudaLinearOps::skew_spectrum_scratch(std::int64_t n, std::int64_t batch) const {
  const Footprint eigh = vendor_.eigh_scratch(n, batch, true), qr = vendor_.qr_scratch(n, n / 2 * 2);
  return of_items(batch) + Footprint{matrix_bytes(n, 2 * n + 1, batch) +
                                         std::max(eigh.device, matrix_bytes(n + 1, n, batch) + qr.device),
                                     std::max(eigh.host, qr.host)};
}

Footprint CudaLinearOps::eigenvalues_scratch(std::int64_t n, std::int64_t batch) const {
  return of_items(batch) + on_device(matrix_bytes(n, n, batch)) + vendor_.eigenvalues_scratch(n);
}

}  // namespace aloft::cuda
