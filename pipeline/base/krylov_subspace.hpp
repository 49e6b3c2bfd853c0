#pragma once
#include <cstdint>
#include <functional>
#include <string_view>

#include "pipeline/base/krylov_eigen.hpp"

namespace aloft {

/// y = A·x for a symmetric A [n, n] in single precision; x and y [n, columns], on the device.
using FloatProduct = std::function<void(ConstFloatView x, FloatView y)>;

/// Eigenvectors as columns.
struct Subspace {
  std::vector<double> values;  ///< [k], by falling |eigenvalue|
  Matrix columns;              ///< [n, k]
};

/// Nearly the k eigenpairs of largest magnitude of a symmetric matrix [n, n], k <= n: what a block Krylov
/// space of 3/2 k directions knows of them (krylov_eigen.hpp), however good that is, made in single
/// precision. The leading ones have several digits, the last are mixed with their successors; columns are
/// orthonormal to 1e-5. For subspaces that statistics are projected onto (docs/science.md, 5.4: what that
/// costs). @pre 3/2 k + 64 <= n (soon_dense() is for less), |λ₁|^power < 1e30.
[[nodiscard]] Subspace leading_subspace(Context& ctx, std::int64_t n, const FloatProduct& product,
                                        std::int64_t k, int power, std::uint64_t seed,
                                        std::string_view stage);
/// The same shape from pairs that are known.
[[nodiscard]] Subspace subspace_of(Context& ctx, EigenPairs pairs);

/// All that the first allocates, its result included.
[[nodiscard]] Peak leading_subspace_memory(const LinearOps& ops, std::int64_t n, std::int64_t k,
                                           const ProductMemory& product);

}  // namespace aloft
