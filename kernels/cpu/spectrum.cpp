#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/cpu/lapack.hpp"
#include "kernels/cpu/linear_ops.hpp"
#include "kernels/cpu/parallel.hpp"

namespace aloft::cpu {
namespace {

/// u and vt may both be null: values only. dgesdd with dgesvd behind it: divide and conquer is several times
/// faster, QR iteration converges on the rare matrix where it does not.
void svd_item(const double* a, std::int64_t m, std::int64_t n, double* u, double* sigma, double* vt,
              std::int64_t item) {
  require_finite("svd", a, m, n, item);
  const std::int64_t k = std::min(m, n);
  const lapack_int rows = lapack_size(n), cols = lapack_size(m), rank = lapack_size(k);  // of the transpose
  std::vector<double> work(a, a + m * n), unused_u, unused_vt;
  const bool vectors = u != nullptr || vt != nullptr;
  if (vectors && u == nullptr) u = (unused_u.resize(static_cast<std::size_t>(m * k)), unused_u.data());
  if (vectors && vt == nullptr) vt = (unused_vt.resize(static_cast<std::size_t>(k * n)), unused_vt.data());
  const char job = vectors ? 'S' : 'N';
  // aᵀ = v·diag(sigma)·uᵀ, so the transpose's left vectors, column-major, are vt row-major.
  lapack_int info =
      LAPACKE_dgesdd(LAPACK_COL_MAJOR, job, rows, cols, work.data(), rows, sigma, vt, rows, u, rank);
  if (info > 0) {
    std::copy(a, a + m * n, work.begin());
    std::vector<double> superdiagonal(static_cast<std::size_t>(k));
    info = LAPACKE_dgesvd(LAPACK_COL_MAJOR, job, job, rows, cols, work.data(), rows, sigma, vt, rows, u, rank,
                          superdiagonal.data());
  }
  require_success("svd (dgesdd, dgesvd)", info, item);
}

}  // namespace

void CpuLinearOps::eigh(ConstMatrixView a, double* values, MatrixView v) {
  const std::int64_t n = a.rows;
  expects(a.cols == n && v.rows == n && v.cols == n && v.batch == a.batch,
          "eigh: a and v [n, n], same batch");
  expects(a.contiguous() && v.contiguous(), "eigh: contiguous");
  if (a.size() == 0) return;
  parallel_for(a.batch, [&](std::int64_t item) {
    const double* from = a.item(item).data;
    double* vectors = v.item(item).data;
    require_finite_lower("eigh", from, n, false, item);
    if (from != vectors) std::copy_n(from, n * n, vectors);
    const lapack_int size = lapack_size(n);
    // The lower triangle of row-major memory is LAPACK's upper one.
    require_success("eigh (dsyevd)",
                    LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', size, vectors, size, values + item * n), item);
    for (std::int64_t i = 0; i < n; ++i)  // eigenvectors came as rows
      for (std::int64_t j = 0; j < i; ++j) std::swap(vectors[i * n + j], vectors[j * n + i]);
  });
}

void CpuLinearOps::svd(ConstMatrixView a, MatrixView u, double* sigma, MatrixView vt) {
  const std::int64_t k = std::min(a.rows, a.cols);
  expects(a.contiguous() && u.contiguous() && vt.contiguous(), "svd: contiguous");
  expects(u.data == nullptr || (u.rows == a.rows && u.cols == k && u.batch == a.batch),
          "svd: u [m, min(m, n)]");
  expects(vt.data == nullptr || (vt.rows == k && vt.cols == a.cols && vt.batch == a.batch),
          "svd: vt [min(m, n), n]");
  if (a.size() == 0) return;
  parallel_for(a.batch, [&](std::int64_t item) {
    svd_item(a.item(item).data, a.rows, a.cols, u.data == nullptr ? nullptr : u.item(item).data,
             sigma + item * k, vt.data == nullptr ? nullptr : vt.item(item).data, item);
  });
}

void CpuLinearOps::eigenvalues(ConstMatrixView a, double* values) {
  const std::int64_t n = a.rows;
  expects(a.cols == n && a.contiguous(), "eigenvalues: a [n, n], contiguous");
  if (a.size() == 0) return;
  parallel_for(a.batch, [&](std::int64_t item) {
    const double* from = a.item(item).data;
    require_finite("eigenvalues", from, n, n, item);
    std::vector<double> work(from, from + n * n), re(static_cast<std::size_t>(n)),
        im(static_cast<std::size_t>(n));
    const lapack_int size = lapack_size(n);
    // of the transpose, which has the same
    require_success("eigenvalues (dgeev)",
                    LAPACKE_dgeev(LAPACK_COL_MAJOR, 'N', 'N', size, work.data(), size, re.data(), im.data(),
                                  nullptr, 1, nullptr, 1),
                    item);
    for (std::int64_t k = 0; k < n; ++k) {
      values[2 * (item * n + k)] = re[static_cast<std::size_t>(k)];
      values[2 * (item * n + k) + 1] = im[static_cast<std::size_t>(k)];
    }
  });
}

}  // namespace aloft::cpu
