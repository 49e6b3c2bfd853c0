#include <kissfft/kissfft.hh>

#include <algorithm>
#include <complex>
#include <cstddef>
#include <vector>

#include "host/error.hpp"
#include "kernels/cpu/linear_ops.hpp"
#include "kernels/cpu/parallel.hpp"

namespace aloft::cpu {
namespace {

using Complex = std::complex<double>;

constexpr std::int64_t kBlock = 16;  // rows that share one plan; also the side of a transposition tile

/// The transform of every row of x [n, n], unscaled. A plan has scratch memory of its own, so each block
/// makes one.
void transform_rows(std::vector<Complex>& x, std::int64_t n, bool inverse) {
  parallel_for(blocks_of(n, kBlock), [&](std::int64_t block) {
    const kissfft<double> plan(static_cast<std::size_t>(n), inverse);
    std::vector<Complex> row(static_cast<std::size_t>(n));
    for (std::int64_t i = block * kBlock; i < std::min(n, (block + 1) * kBlock); ++i) {
      plan.transform(&x[static_cast<std::size_t>(i * n)], row.data());
      std::copy(row.begin(), row.end(), x.begin() + i * n);
    }
  });
}

void transpose_in_place(std::vector<Complex>& x, std::int64_t n) {
  const auto at = [&](std::int64_t i, std::int64_t j) -> Complex& {
    return x[static_cast<std::size_t>(i * n + j)];
  };
  parallel_for(blocks_of(n, kBlock), [&](std::int64_t block) {
    const std::int64_t i0 = block * kBlock;
    for (std::int64_t j0 = 0; j0 <= i0; j0 += kBlock)
      for (std::int64_t i = i0; i < std::min(n, i0 + kBlock); ++i)
        for (std::int64_t j = j0; j < std::min(i, j0 + kBlock); ++j) std::swap(at(i, j), at(j, i));
  });
}

/// fft2, up to a transposition of the result.
void transform(std::vector<Complex>& x, std::int64_t n, bool inverse) {
  transform_rows(x, n, inverse);
  transpose_in_place(x, n);
  transform_rows(x, n, inverse);
}

}  // namespace

void CpuLinearOps::convolve_circulant(ConstMatrixView a, const double* k0, MatrixView out) {
  const std::int64_t n = a.rows;
  expects(a.cols == n && out.rows == n && out.cols == n && a.batch == out.batch,
          "convolve_circulant: [n, n]");
  if (a.size() == 0) return;
  const auto size = static_cast<std::size_t>(n * n);
  std::vector<Complex> circulant(size), x(size);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) circulant[static_cast<std::size_t>(i * n + j)] = k0[(j - i + n) % n];
  transform(circulant, n, false);
  const double unscale = 1.0 / (static_cast<double>(n) * static_cast<double>(n));
  for (std::int64_t item = 0; item < a.batch; ++item) {
    std::copy_n(a.item(item).data, size, x.begin());
    transform(x, n, false);
    parallel_for(
        n,
        [&](std::int64_t i) {
          for (auto e = static_cast<std::size_t>(i * n); e < static_cast<std::size_t>((i + 1) * n); ++e)
            x[e] *= circulant[e];
        },
        kBlock);
    transform(x, n, true);  // the second transposition undoes the first
    for (std::size_t e = 0; e < size; ++e) out.item(item).data[e] = x[e].real() * unscale;
  }
}

}  // namespace aloft::cpu
