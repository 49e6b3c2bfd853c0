#include <kissfft/kissfft.hh>

#include <algorithm>
#include <complex>
#include <cstddef>
#include <numbers>
#include <utility>
#include <vector>

#include "host/error.hpp"
#include "kernels/cpu/linear_ops.hpp"
#include "kernels/cpu/parallel.hpp"

namespace aloft::cpu {
namespace {

using Complex = std::complex<double>;

constexpr std::int64_t kBlock = 16;  // rows that share one plan; also the side of a transposition tile
constexpr std::int64_t kLargestRadix =
    31;  // kissfft takes p² steps for a prime factor p; beyond this the chirp wins

std::int64_t largest_prime_factor(std::int64_t n) {
  std::int64_t largest = 1;
  for (std::int64_t p = 2; p * p <= n; ++p)
    for (; n % p == 0; n /= p) largest = p;
  return std::max(largest, n);
}

/// Smallest power of two that holds the linear convolution of two sequences of n.
std::int64_t padded_size(std::int64_t n) {
  std::int64_t size = 1;
  while (size < 2 * n - 1) size *= 2;
  return size;
}

/// One-dimensional transforms of n numbers, unscaled. Has scratch memory, so no two threads may share one.
/// Sizes with a large prime factor go by Bluestein's chirp (1970): with jk = (j² + k² − (k − j)²)/2 the
/// transform is a convolution with e^{±πi j²/n}, made by transforms whose size is a power of two.
class Plan {
 public:
  Plan(std::int64_t n, bool inverse)
      : n_(static_cast<std::size_t>(n)),
        chirped_(largest_prime_factor(n) > kLargestRadix),
        size_(static_cast<std::size_t>(chirped_ ? padded_size(n) : n)),
        forward_(size_, chirped_ ? false : inverse),
        back_(chirped_ ? size_ : 1, true),
        in_(size_),
        out_(size_) {
    if (!chirped_) return;
    const double sign = inverse ? 1 : -1;
    for (std::int64_t j = 0; j < n; ++j)  // the angle is reduced exactly, as an integer
      chirp_.push_back(std::polar(
          1.0, sign * std::numbers::pi * static_cast<double>(j * j % (2 * n)) / static_cast<double>(n)));
    for (std::size_t j = 0; j < n_; ++j) in_[j] = in_[(size_ - j) % size_] = std::conj(chirp_[j]);
    kernel_.resize(size_);
    forward_.transform(in_.data(), kernel_.data());
  }

  /// Replaces row [n] by its transform.
  void apply(Complex* row) {
    if (!chirped_) {
      forward_.transform(row, out_.data());
      std::copy(out_.begin(), out_.end(), row);
      return;
    }
    for (std::size_t j = 0; j < n_; ++j) in_[j] = row[j] * chirp_[j];
    std::fill(in_.begin() + static_cast<std::ptrdiff_t>(n_), in_.end(), Complex{});
    forward_.transform(in_.data(), out_.data());
    for (std::size_t j = 0; j < size_; ++j) out_[j] *= kernel_[j];
    back_.transform(out_.data(), in_.data());
    for (std::size_t j = 0; j < n_; ++j) row[j] = in_[j] * chirp_[j] / static_cast<double>(size_);
  }

 private:
  std::size_t n_;
  bool chirped_;
  std::size_t size_;
  kissfft<double> forward_, back_;
  std::vector<Complex> in_, out_, chirp_, kernel_;
};

/// The transform of every row of x [n, n], unscaled.
void transform_rows(std::vector<Complex>& x, std::int64_t n, bool inverse) {
  parallel_for(blocks_of(n, kBlock), [&](std::int64_t block) {
    Plan plan(n, inverse);
    for (std::int64_t i = block * kBlock; i < std::min(n, (block + 1) * kBlock); ++i)
      plan.apply(&x[static_cast<std::size_t>(i * n)]);
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
  expects(a.contiguous() && out.contiguous(), "convolve_circulant: contiguous");
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
