#pragma once
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "pipeline/base/context.hpp"

namespace aloft {

/// Eigenpairs of a symmetric matrix, by falling |eigenvalue|. For a symmetric matrix this is its singular
/// value decomposition up to the signs of the values.
struct EigenPairs {
  std::vector<double> values;  ///< [k]
  Matrix vectors;              ///< [k, n]: row i belongs to values[i], rows orthonormal
};

/// Positions of `values` by falling magnitude, positive first among equals.
[[nodiscard]] std::vector<std::int64_t> by_magnitude(const std::vector<double>& values);

/// y = A·x for a symmetric A [n, n]; x and y [n, columns], on the device.
using SymmetricProduct = std::function<void(ConstMatrixView x, MatrixView y)>;

/// The k eigenpairs of largest magnitude of a symmetric matrix [n, n] known by its products, k <= n, to a
/// residual of 1e-6 |λ₁| (eigenvalues: its square over the gap). Small matrices go to the dense solver;
/// larger ones to a randomized block Krylov space (Musco and Musco, 2015) with full orthogonalisation and
/// Rayleigh-Ritz, which grows by A^power a step (odd, to keep signs apart: more is cheaper where products
/// are). The space holds 3 k directions at most, then starts again from the best k; spectra so flat that 20 k
/// directions (3072 at least) do not get there are accepted at 1e-3; throws NumericError above that.
[[nodiscard]] EigenPairs largest_eigenpairs(Context& ctx, std::int64_t n, const SymmetricProduct& product,
                                            std::int64_t k, int power, std::uint64_t seed,
                                            std::string_view stage);
/// The same of a sparse symmetric x.
[[nodiscard]] EigenPairs largest_eigenpairs(Context& ctx, RealCsrView x, std::int64_t k, std::uint64_t seed,
                                            std::string_view stage);

/// Whether that is left to the dense solver, which is as fast as the smallest space that would do.
[[nodiscard]] constexpr bool soon_dense(std::int64_t n, std::int64_t k) {
  return n <= (k < 256 ? 1024 : 4 * k);
}

/// What a product with that many columns takes beside them and its result.
using ProductMemory = std::function<Footprint(std::int64_t columns)>;
/// All that the first of these allocates, the pairs included; the second's, x given, of nnz entries.
[[nodiscard]] Peak krylov_memory(const LinearOps& ops, std::int64_t n, std::int64_t k,
                                 const ProductMemory& product);
[[nodiscard]] Peak krylov_memory(const LinearOps& ops, std::int64_t n, std::int64_t nnz, std::int64_t k);

}  // namespace aloft
