#include <fmt/format.h>
#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <memory>
#include <vector>

#include "host/error.hpp"
#include "kernels/cuda/vendor.hpp"
#include "tests/simt/vendor_call.hpp"

// cuSOLVER's part of the door over LAPACK. As on a GPU, work waits its turn on the stream, and whether it
// converged is known only after waiting for it.

namespace aloft::cuda {
namespace {

lapack_int size_of(std::int64_t n) { return static_cast<lapack_int>(n); }

/// work(item) -> LAPACK's info, for every item of the batch, on the stream; then waits for it.
template <class Work>
void solve(CudaDevice& device, const char* routine, std::int64_t batch, const Work& work) {
  const auto info = std::make_shared<std::vector<lapack_int>>(static_cast<std::size_t>(batch));
  queue_call(
      device,
      [info, work] {
        for (std::size_t i = 0; i < info->size(); ++i) (*info)[i] = work(static_cast<std::int64_t>(i));
      },
      work);
  device.synchronize();
  for (std::size_t i = 0; i < info->size(); ++i)
    if ((*info)[i] != 0)
      throw NumericError(
          fmt::format("{} failed on matrix {} (info {}): it did not converge", routine, i, (*info)[i]));
}

/// What cuSOLVER may do and LAPACK does not: eigenvalues that are equal but for rounding come in the wrong
/// order (seen on an H200), and vectors point the other way. vectors: [n] columns of `reals` doubles, or
/// null.
void as_another_library(double* values, std::int64_t n, double* vectors, std::int64_t reals) {
  for (std::int64_t k = 1; k < n; ++k)
    if (values[k] - values[k - 1] <= 4e-16 * std::abs(values[k])) {
      values[k - 1] = std::nextafter(values[k], std::numeric_limits<double>::infinity());
      ++k;
    }
  if (vectors == nullptr) return;
  for (std::int64_t column = 0; column < n; column += 2)
    for (std::int64_t i = 0; i < reals; ++i) vectors[column * reals + i] *= -1;
}

}  // namespace

void Vendor::eigh(double* a, std::int64_t n, std::int64_t batch, double* values, bool vectors) {
  handles_->solver();
  solve(device_, "eigh (dsyevd)", batch, [=](std::int64_t item) {
    wrote(values + item * n, n);
    double* at = a + item * n * n;
    const lapack_int info = LAPACKE_dsyevd(LAPACK_COL_MAJOR, vectors ? 'V' : 'N', 'U', size_of(n), at,
                                           size_of(n), values + item * n);
    as_another_library(values + item * n, n, vectors ? at : nullptr, n);
    return info;
  });
}

void Vendor::eigh_complex(double* a, std::int64_t n, std::int64_t batch, double* values, bool vectors) {
  handles_->solver();
  solve(device_, "eigh (zheevd)", batch, [=](std::int64_t item) {
    auto* at = reinterpret_cast<lapack_complex_double*>(a + 2 * item * n * n);
    // OpenBLAS 0.3.21's zgemv_n for Haswell and later reads up to a column past the last one.
    std::vector<lapack_complex_double> columns(at, at + n * n);
    columns.resize(static_cast<std::size_t>(n * (n + 4)));
    wrote(values + item * n, n);
    const lapack_int info = LAPACKE_zheevd(LAPACK_COL_MAJOR, vectors ? 'V' : 'N', 'U', size_of(n),
                                           columns.data(), size_of(n), values + item * n);
    std::copy_n(columns.begin(), n * n, at);
    as_another_library(values + item * n, n, vectors ? a + 2 * item * n * n : nullptr, 2 * n);
    return info;
  });
}

void Vendor::svd(double* a, std::int64_t m, std::int64_t n, std::int64_t batch, double* u, double* sigma,
                 double* vt) {
  expects(m <= n && (u == nullptr) == (vt == nullptr), "Vendor::svd: m <= n, u and vt or neither");
  handles_->solver();
  solve(device_, "svd (dgesvd)", batch, [=](std::int64_t item) {
    const char job = u != nullptr ? 'S' : 'N';
    double* left = vt == nullptr ? nullptr : vt + item * m * n;  // column-major aᵀ = v·diag(sigma)·uᵀ
    double* right = u == nullptr ? nullptr : u + item * m * m;
    std::vector<double> superdiagonal(static_cast<std::size_t>(m));
    wrote(sigma + item * m, m);
    if (u != nullptr) {
      wrote(left, m * n);
      wrote(right, m * m);
    }
    return LAPACKE_dgesvd(LAPACK_COL_MAJOR, job, job, size_of(n), size_of(m), a + item * m * n, size_of(n),
                          sigma + item * m, left, size_of(n), right, size_of(m), superdiagonal.data());
  });
}

void Vendor::eigenvalues(double* a, std::int64_t n, std::int64_t batch, double* values) {
  handles_->solver();
  solve(device_, "eigenvalues (dgeev)", batch, [=](std::int64_t item) {
    std::vector<double> re(static_cast<std::size_t>(n)), im(static_cast<std::size_t>(n));
    const lapack_int info = LAPACKE_dgeev(LAPACK_COL_MAJOR, 'N', 'N', size_of(n), a + item * n * n,
                                          size_of(n), re.data(), im.data(), nullptr, 1, nullptr, 1);
    wrote(values + 2 * item * n, 2 * n);
    for (std::int64_t k = 0; k < n; ++k) {
      values[2 * (item * n + k)] = re[static_cast<std::size_t>(k)];
      values[2 * (item * n + k) + 1] = im[static_cast<std::size_t>(k)];
    }
    return info;
  });
}

void Vendor::qr(double* y, std::int64_t m, std::int64_t k, std::int64_t batch, double* diagonal_r) {
  handles_->solver();
  queue_call(device_, [=] {
    std::vector<double> tau(static_cast<std::size_t>(k));
    for (std::int64_t item = 0; item < batch; ++item) {
      double* at = y + item * m * k;
      const lapack_int rows = size_of(m), cols = size_of(k);
      expects(LAPACKE_dgeqrf(LAPACK_COL_MAJOR, rows, cols, at, rows, tau.data()) == 0, "dgeqrf");
      for (std::int64_t j = 0; j < k; ++j) diagonal_r[item * k + j] = at[j * m + j];
      expects(LAPACKE_dorgqr(LAPACK_COL_MAJOR, rows, cols, cols, at, rows, tau.data()) == 0, "dorgqr");
    }
    wrote(diagonal_r, batch * k);
  });
}

// LAPACK's work is the host's own: the stand-ins take nothing of the device's memory.
Footprint Vendor::eigh_scratch(std::int64_t, std::int64_t, bool) const { return {}; }
Footprint Vendor::svd_scratch(std::int64_t, std::int64_t) const { return {}; }
Footprint Vendor::qr_scratch(std::int64_t, std::int64_t) const { return {}; }
Footprint Vendor::eigenvalues_scratch(std::int64_t) const { return {}; }

}  // namespace aloft::cuda
