#include <algorithm>
#include <vector>

#include "kernels/cpu/lapack.hpp"
#include "kernels/cpu/parallel.hpp"
#include "kernels/cpu/skew_tridiagonal.hpp"

// A block of reflectors is 1 − V T Vᵀ, T upper triangular. Orthogonality alone demands T⁻¹ + T⁻ᵀ = VᵀV, which
// gives T from one product (Puglisi, "Modification of the Householder method based on the compact WY
// representation", SIAM J. Sci. Stat. Comput. 13, 1992); T⁻¹ has 1/tau on its diagonal.

namespace aloft::cpu {
namespace {

constexpr std::int64_t kBlock = SkewTridiagonal::kBlock;
constexpr std::int64_t kChunk = 128;  // vectors that go through all reflectors together: they stay in cache

std::int64_t width_of(const SkewTridiagonal& t, std::int64_t block) {
  return std::min(kBlock, t.n - 1 - block);
}

/// T of the block that begins at reflector `block`; column-major [kBlock, kBlock], only its upper triangle.
void triangle_of(const SkewTridiagonal& t, std::int64_t block, double* triangle) {
  const int width = static_cast<int>(width_of(t, block)), step = static_cast<int>(kBlock);
  cblas_dsyrk(CblasColMajor, CblasUpper, CblasTrans, width, static_cast<int>(t.n - 1 - block), 1.0,
              t.reflectors.at(block + 1, block), t.reflectors.step(), 0.0, triangle, step);
  for (int k = 0; k < width; ++k) {
    const double tau = t.tau[static_cast<std::size_t>(block + k)];
    triangle[k * step + k] = tau == 0 ? 1.0 : 1.0 / tau;  // v is 0 where tau is
  }
  require_success("dtrtri", LAPACKE_dtrtri_work(LAPACK_COL_MAJOR, 'U', 'N', width, triangle, step), 0);
}

}  // namespace

void SkewTridiagonal::apply_q(double* left, double* right, std::int64_t columns) const {
  if (n < 2 || columns == 0) return;
  const std::int64_t blocks = blocks_of(n - 1, kBlock), chunks = blocks_of(columns, kChunk);
  std::vector<double> triangles(static_cast<std::size_t>(blocks * kBlock * kBlock));
  for (std::int64_t b = 0; b < blocks; ++b)
    triangle_of(*this, b * kBlock, &triangles[static_cast<std::size_t>(b * kBlock * kBlock)]);

  const int step = lapack_size(n), inner = static_cast<int>(kBlock);
  parallel_for(2 * chunks, [&](std::int64_t task) {
    const std::int64_t begin = task / 2 * kChunk;
    const int count = static_cast<int>(std::min(kChunk, columns - begin));
    double* x = (task % 2 == 0 ? left : right) + begin * n;
    std::vector<double> product(static_cast<std::size_t>(kBlock * count));
    for (std::int64_t b = blocks; b-- > 0;) {
      const std::int64_t block = b * kBlock;
      const int width = static_cast<int>(width_of(*this, block)), rows = static_cast<int>(n - 1 - block);
      const double* v = reflectors.at(block + 1, block);
      double* at = x + block + 1;
      cblas_dgemm(CblasColMajor, CblasTrans, CblasNoTrans, width, count, rows, 1.0, v, reflectors.step(), at,
                  step, 0.0, product.data(), inner);
      cblas_dtrmm(CblasColMajor, CblasLeft, CblasUpper, CblasNoTrans, CblasNonUnit, width, count, 1.0,
                  &triangles[static_cast<std::size_t>(block * kBlock)], inner, product.data(), inner);
      cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, rows, count, width, -1.0, v, reflectors.step(),
                  product.data(), inner, 1.0, at, step);
    }
  });
}

}  // namespace aloft::cpu
