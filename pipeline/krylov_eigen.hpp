#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "pipeline/context.hpp"

namespace aloft {

/// Eigenpairs of a symmetric matrix, by falling |eigenvalue|. For a symmetric matrix this is its singular
/// value decomposition up to the signs of the values.
struct EigenPairs {
  std::vector<double> values;   ///< [k]
  std::vector<double> vectors;  ///< [k, n] row-major on the host: row i belongs to values[i], orthonormal
};

/// The k eigenpairs of largest magnitude of the sparse symmetric x [n, n], k <= n, to a residual of 1e-6 |λ₁|
/// or better (eigenvalues: its square over the gap). Small matrices go to the dense solver; larger ones to a
/// randomized block Krylov space (Musco and Musco, 2015) with full orthogonalisation and Rayleigh-Ritz.
/// Throws NumericError if that has not converged in a space of about 10 k directions.
[[nodiscard]] EigenPairs largest_eigenpairs(Context& ctx, RealCsrView x, std::int64_t k, std::uint64_t seed,
                                            std::string_view stage);

}  // namespace aloft
