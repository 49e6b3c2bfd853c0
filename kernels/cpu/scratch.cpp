#include <omp.h>

#include <algorithm>

#include "kernels/cpu/columns.hpp"
#include "kernels/cpu/linear_ops.hpp"
#include "kernels/cpu/orthonormalize.hpp"
#include "kernels/cpu/parallel.hpp"
#include "kernels/cpu/softmax.hpp"

// What the calls allocate, in one place; each number says which. Work arrays are LAPACK's documented sizes.

namespace aloft::cpu {
namespace {

std::int64_t workers() { return omp_get_max_threads(); }
/// Of `each` doubles for every item that is worked on at once.
Footprint doubles_of_workers(std::int64_t each, std::int64_t items) {
  return on_host(matrix_bytes(each, std::min(items, workers())));
}

}  // namespace

// Where every worker's entries of a column go, and offsets of the result before it is allocated.
Footprint CpuLinearOps::sparse_scratch(std::int64_t cols, std::int64_t) const {
  return on_host(static_cast<std::uint64_t>((workers() + 3) * cols) * sizeof(std::uint64_t));
}

// A tile of x without gaps.
Footprint CpuLinearOps::spmm_scratch(std::int64_t, std::int64_t cols, std::int64_t, std::int64_t) const {
  return on_device(matrix_bytes(cols, kSparseTile));
}

// What is known of the positions under way; every worker's products of a tile and its features.
Footprint CpuLinearOps::softmax_scratch(std::int64_t positions, std::int64_t classes, std::int64_t terms,
                                        std::int64_t models) const {
  const std::int64_t now = std::min(positions, kSoftmaxPositions),
                     block = std::min(now, softmax_positions(terms)),
                     segments = blocks_of(classes, softmax_segment(classes));
  return on_host(matrix_bytes(now * models * segments, softmax_state(terms)) +
                 static_cast<std::uint64_t>(workers()) *
                     float_matrix_bytes(terms * (block + 1) + 2, kSoftmaxClasses));
}

// The triangles of all blocks; a block and its factor, column-major and row-major, for every worker.
Footprint CpuLinearOps::orthonormalize_scratch(std::int64_t m, std::int64_t k, std::int64_t batch) const {
  const std::int64_t blocks = orthonormalize_blocks(m, k);
  if (blocks == 1) return doubles_of_workers(2 * m * k, batch);
  const std::int64_t rows = std::max(m - (blocks - 1) * orthonormalize_rows(k), blocks * k);
  const std::uint64_t grams = matrix_bytes(k, k, std::min(blocks, kGrams));
  return on_device(matrix_bytes(blocks * k, k, batch)) + on_host(grams) +
         doubles_of_workers(2 * rows * k, batch * blocks);
}

// dsyevd.
Footprint CpuLinearOps::eigh_scratch(std::int64_t n, std::int64_t batch) const {
  return doubles_of_workers(2 * n * n + 10 * n, batch);
}

// The matrix under reduction and as it was, dsyevd's own where that has to step in.
Footprint CpuLinearOps::eigh_top_scratch(std::int64_t n, std::int64_t batch) const {
  return doubles_of_workers(5 * n * n + 80 * n, batch);
}

// A copy, since dgesdd destroys it, and its blocks of columns; with vectors the smaller side's bidiagonal
// problem, and where the matrix is long its triangle.
Footprint CpuLinearOps::svd_scratch(std::int64_t m, std::int64_t n, std::int64_t batch, bool vectors) const {
  const std::int64_t k = std::min(m, n), square = 6 * std::max(m, n) >= 11 * k ? 4 : 3;
  return doubles_of_workers(m * n + 64 * (m + n) + (vectors ? square * k * k : 0), batch);
}

// Reflectors and the matrix under reduction; u, vt and dbdsdc's work of half the size.
Footprint CpuLinearOps::skew_spectrum_scratch(std::int64_t n, std::int64_t batch) const {
  const std::int64_t m = n / 2;
  return doubles_of_workers(n * n + 5 * m * m + 128 * n, batch);
}

// The matrix under reduction; dgeev's own work.
Footprint CpuLinearOps::eigenvalues_scratch(std::int64_t n, std::int64_t batch) const {
  return doubles_of_workers(n * n + 80 * n, batch);
}

}  // namespace aloft::cpu
