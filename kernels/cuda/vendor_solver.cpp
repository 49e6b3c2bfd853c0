#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "host/error.hpp"
#include "kernels/cuda/vendor_handles.hpp"

// cuSOLVER is column-major: the memory of a row-major [m, n] matrix is that of its column-major transpose.

namespace aloft::cuda {
namespace {

/// Scratch of one call, on both sides. The buffers live until the stream has passed them (device memory is
/// freed in stream order; the host's is only for calls that synchronise before they return).
struct Workspace {
  Workspace(CudaDevice& device_, std::size_t device_bytes, std::size_t host_bytes)
      : device(device_, device_bytes), host(host_bytes) {}
  Buffer<unsigned char> device;
  std::vector<unsigned char> host;
};

/// Waits, then throws NumericError for the first item whose decomposition did not end well.
void require_success(const char* routine, const Buffer<int>& info, std::int64_t first_item) {
  const std::vector<int> on_host = to_host(info);
  for (std::size_t i = 0; i < on_host.size(); ++i)
    if (on_host[i] != 0)
      throw NumericError(fmt::format("{} failed on matrix {} (info {}): {}", routine,
                                     first_item + static_cast<std::int64_t>(i), on_host[i],
                                     on_host[i] > 0 ? "it did not converge" : "an argument was refused"));
}

/// Matrices one call of XsyevBatched may take: its offsets are 32-bit inside, though its arguments are not
/// (seen as "invalid value" from about 2^31 bytes, or 2^15 small matrices, upwards).
std::int64_t items_per_call(std::int64_t bytes_per_item) {
  const std::int64_t most = std::numeric_limits<std::int32_t>::max() / bytes_per_item;
  return std::clamp<std::int64_t>(most, 1, 1 << 14);
}

struct Eigenproblem {
  cudaDataType type;       ///< of the matrix; eigenvalues are CUDA_R_64F
  std::int64_t reals = 1;  ///< doubles per element
  cusolverEigMode_t mode;
};

cusolverEigMode_t mode_of(bool vectors) {
  return vectors ? CUSOLVER_EIG_MODE_VECTOR : CUSOLVER_EIG_MODE_NOVECTOR;
}

/// One matrix goes to Xsyevd, whose kernels spread over the GPU; many share their launches in XsyevBatched.
/// Both are divide and conquer on a tridiagonal reduction, and both overwrite a with column vectors.
void eigh_of(CudaDevice& device, cusolverDnHandle_t solver, cusolverDnParams_t params, Eigenproblem problem,
             double* a, std::int64_t n, std::int64_t batch, double* values) {
  const auto uplo = CUBLAS_FILL_MODE_UPPER;  // row-major lower
  const std::int64_t elements = n * n * problem.reals;
  const std::int64_t step = items_per_call(elements * static_cast<std::int64_t>(sizeof(double)));
  for (std::int64_t item = 0; item < batch; item += step) {
    const std::int64_t count = std::min(step, batch - item);
    double *matrices = a + item * elements, *at = values + item * n;
    Buffer<int> info(device, static_cast<std::size_t>(count));
    std::size_t device_bytes = 0, host_bytes = 0;
    if (count == 1) {
      check(ALOFT_VENDOR(solver, cusolverDnXsyevd_bufferSize)(solver, params, problem.mode, uplo, n,
                                                              problem.type, matrices, n, CUDA_R_64F, at,
                                                              problem.type, &device_bytes, &host_bytes));
      Workspace work(device, device_bytes, host_bytes);
      check(ALOFT_VENDOR(solver, cusolverDnXsyevd)(
          solver, params, problem.mode, uplo, n, problem.type, matrices, n, CUDA_R_64F, at, problem.type,
          work.device.data(), device_bytes, work.host.data(), host_bytes, info.data()));
      queued("cusolverDnXsyevd", device.stream());
      require_success("eigh (Xsyevd)", info, item);
    } else {
      check(ALOFT_VENDOR(solver, cusolverDnXsyevBatched_bufferSize)(
          solver, params, problem.mode, uplo, n, problem.type, matrices, n, CUDA_R_64F, at, problem.type,
          &device_bytes, &host_bytes, count));
      Workspace work(device, device_bytes, host_bytes);
      check(ALOFT_VENDOR(solver, cusolverDnXsyevBatched)(
          solver, params, problem.mode, uplo, n, problem.type, matrices, n, CUDA_R_64F, at, problem.type,
          work.device.data(), device_bytes, work.host.data(), host_bytes, info.data(), count));
      queued("cusolverDnXsyevBatched", device.stream());
      require_success("eigh (XsyevBatched)", info, item);
    }
  }
}

}  // namespace

void Vendor::eigh(double* a, std::int64_t n, std::int64_t batch, double* values, bool vectors) {
  eigh_of(device_, handles_->solver(), handles_->solver_params(), {CUDA_R_64F, 1, mode_of(vectors)}, a, n,
          batch, values);
}

void Vendor::eigh_complex(double* a, std::int64_t n, std::int64_t batch, double* values, bool vectors) {
  eigh_of(device_, handles_->solver(), handles_->solver_params(), {CUDA_C_64F, 2, mode_of(vectors)}, a, n,
          batch, values);
}

Footprint Vendor::eigh_scratch(std::int64_t n, std::int64_t batch, bool complex) const {
  const Eigenproblem problem{complex ? CUDA_C_64F : CUDA_R_64F, complex ? 2 : 1, CUSOLVER_EIG_MODE_VECTOR};
  const std::int64_t most = items_per_call(n * n * problem.reals * static_cast<std::int64_t>(sizeof(double)));
  const std::int64_t count = std::min(most, batch);
  std::size_t device_bytes = 0, host_bytes = 0;
  const auto solver = handles_->solver();
  const auto params = handles_->solver_params();
  if (count == 1)
    check(ALOFT_VENDOR(solver, cusolverDnXsyevd_bufferSize)(
        solver, params, problem.mode, CUBLAS_FILL_MODE_UPPER, n, problem.type, nullptr, n, CUDA_R_64F,
        nullptr, problem.type, &device_bytes, &host_bytes));
  else
    check(ALOFT_VENDOR(solver, cusolverDnXsyevBatched_bufferSize)(
        solver, params, problem.mode, CUBLAS_FILL_MODE_UPPER, n, problem.type, nullptr, n, CUDA_R_64F,
        nullptr, problem.type, &device_bytes, &host_bytes, count));
  return {device_bytes, host_bytes};
}

Footprint Vendor::svd_scratch(std::int64_t m, std::int64_t n) const {
  Footprint most;
  for (const signed char job : {'N', 'S'}) {  // with vectors and without
    std::size_t device_bytes = 0, host_bytes = 0;
    check(ALOFT_VENDOR(solver, cusolverDnXgesvd_bufferSize)(
        handles_->solver(), handles_->solver_params(), job, job, n, m, CUDA_R_64F, nullptr, n, CUDA_R_64F,
        nullptr, CUDA_R_64F, nullptr, n, CUDA_R_64F, nullptr, m, CUDA_R_64F, &device_bytes, &host_bytes));
    most.device = std::max<std::uint64_t>(most.device, device_bytes);
    most.host = std::max<std::uint64_t>(most.host, host_bytes);
  }
  return most;
}

Footprint Vendor::qr_scratch(std::int64_t m, std::int64_t k) const {
  const int rows = static_cast<int>(m), cols = static_cast<int>(k);
  int factor_size = 0, form_size = 0;  // in doubles
  check(ALOFT_VENDOR(solver, cusolverDnDgeqrf_bufferSize)(handles_->solver(), rows, cols, nullptr, rows,
                                                          &factor_size));
  check(ALOFT_VENDOR(solver, cusolverDnDorgqr_bufferSize)(handles_->solver(), rows, cols, cols, nullptr, rows,
                                                          nullptr, &form_size));
  return on_device(static_cast<std::uint64_t>(std::max(factor_size, form_size) + cols) * sizeof(double));
}

// Xgesvd: bidiagonalisation and QR iteration, backward stable for every σ. Of the library's faster ones
// gesvdaStridedBatched is approximate, gesvdjBatched stops at 32 × 32 and Xgesvdp perturbs small σ. There is
// no batched form, so items follow each other on the stream, sharing one workspace; each fills the GPU by
// itself from a few hundred rows on.
void Vendor::svd(double* a, std::int64_t m, std::int64_t n, std::int64_t batch, double* u, double* sigma,
                 double* vt) {
  expects(m <= n && (u == nullptr) == (vt == nullptr), "Vendor::svd: m <= n, u and vt or neither");
  const auto solver = handles_->solver();
  const auto params = handles_->solver_params();
  const signed char job = u != nullptr ? 'S' : 'N';
  // aᵀ [n, m], column-major, = v·diag(sigma)·uᵀ: its left vectors are vt row-major, its right ones u.
  std::size_t device_bytes = 0, host_bytes = 0;
  check(ALOFT_VENDOR(solver, cusolverDnXgesvd_bufferSize)(solver, params, job, job, n, m, CUDA_R_64F, a, n,
                                                          CUDA_R_64F, sigma, CUDA_R_64F, vt, n, CUDA_R_64F, u,
                                                          m, CUDA_R_64F, &device_bytes, &host_bytes));
  Workspace work(device_, device_bytes, host_bytes);
  Buffer<int> info(device_, static_cast<std::size_t>(batch));
  for (std::int64_t item = 0; item < batch; ++item) {
    double* left = vt == nullptr ? nullptr : vt + item * m * n;
    double* right = u == nullptr ? nullptr : u + item * m * m;
    if (item > 0 && host_bytes != 0) device_.synchronize();  // the host's part is still being read
    check(ALOFT_VENDOR(solver, cusolverDnXgesvd)(
        solver, params, job, job, n, m, CUDA_R_64F, a + item * m * n, n, CUDA_R_64F, sigma + item * m,
        CUDA_R_64F, left, n, CUDA_R_64F, right, m, CUDA_R_64F, work.device.data(), device_bytes,
        work.host.data(), host_bytes, info.data() + item));
    queued("cusolverDnXgesvd", handles_->stream);
  }
  require_success("svd (Xgesvd)", info, 0);
}

// geqrf and orgqr have no batched pair either: items follow each other on the stream.
void Vendor::qr(double* y, std::int64_t m, std::int64_t k, std::int64_t batch, double* diagonal_r) {
  const auto solver = handles_->solver();
  if (m > std::numeric_limits<int>::max())
    throw ResourceError(fmt::format("a matrix side of {} is more than cuSOLVER's orgqr can index", m));
  const int rows = static_cast<int>(m), cols = static_cast<int>(k);
  Buffer<double> tau(device_, static_cast<std::size_t>(k));
  int factor_size = 0, form_size = 0;  // in doubles
  check(ALOFT_VENDOR(solver, cusolverDnDgeqrf_bufferSize)(solver, rows, cols, y, rows, &factor_size));
  check(ALOFT_VENDOR(solver, cusolverDnDorgqr_bufferSize)(solver, rows, cols, cols, y, rows, tau.data(),
                                                          &form_size));
  const int size = std::max(factor_size, form_size);
  Buffer<double> work(device_, static_cast<std::size_t>(size));
  Buffer<int> info(device_, 1);  // only tells of wrong arguments: not read
  constexpr std::size_t bytes = sizeof(double);
  for (std::int64_t item = 0; item < batch; ++item) {
    double* at = y + item * m * k;
    check(ALOFT_VENDOR(solver, cusolverDnDgeqrf)(solver, rows, cols, at, rows, tau.data(), work.data(), size,
                                                 info.data()));
    queued("cusolverDnDgeqrf", handles_->stream);
    check(cudaMemcpy2DAsync(diagonal_r + item * k, bytes, at, static_cast<std::size_t>(m + 1) * bytes, bytes,
                            static_cast<std::size_t>(k), cudaMemcpyDeviceToDevice, handles_->stream));
    check(ALOFT_VENDOR(solver, cusolverDnDorgqr)(solver, rows, cols, cols, at, rows, tau.data(), work.data(),
                                                 size, info.data()));
    queued("cusolverDnDorgqr", handles_->stream);
  }
}

}  // namespace aloft::cuda
