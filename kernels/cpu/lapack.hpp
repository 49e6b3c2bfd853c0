#pragma once
#include <cblas.h>
#include <fmt/format.h>
#include <lapacke.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "host/error.hpp"
#include "kernels/not_finite.hpp"

// Row-major matrices meet column-major LAPACK: the memory of a row-major [m, n] matrix is that of its
// column-major transpose [n, m], so every call here is made on the transpose instead of copying.

namespace aloft::cpu {

/// LAPACK's integers are 32-bit.
inline lapack_int lapack_size(std::int64_t n) {
  if (n > std::numeric_limits<lapack_int>::max())
    throw ResourceError(fmt::format("a matrix side of {} is more than LAPACK can index", n));
  return static_cast<lapack_int>(n);
}

/// Throws NumericError unless every element of a [rows, cols] is finite. item: its number in the batch, for
/// the message.
inline void require_finite(const char* operation, const double* a, std::int64_t rows, std::int64_t cols,
                           std::int64_t item) {
  for (std::int64_t i = 0; i < rows * cols; ++i)
    if (!std::isfinite(a[i])) throw_not_finite(operation, item, i / cols, i % cols, a[i]);
}

/// The same for the lower triangle of a [n, n], without its diagonal when `strict`.
inline void require_finite_lower(const char* operation, const double* a, std::int64_t n, bool strict,
                                 std::int64_t item) {
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < (strict ? i : i + 1); ++j)
      if (!std::isfinite(a[i * n + j])) throw_not_finite(operation, item, i, j, a[i * n + j]);
}

/// Throws NumericError when a LAPACK driver reports a failure.
inline void require_success(const char* routine, lapack_int info, std::int64_t item) {
  if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
    throw ResourceError(fmt::format("{}: out of memory for its workspace", routine));
  if (info != 0)
    throw NumericError(fmt::format("{} failed on matrix {} (info {}): {}", routine, item, info,
                                   info > 0 ? "it did not converge" : "an argument is not a finite number"));
}

}  // namespace aloft::cpu
