#include <cmath>
#include <complex>
#include <numbers>

#include "tests/conformance.hpp"

namespace aloft {
namespace {

using namespace conformance;
using Complex = std::complex<double>;
using Spectrum = Eigen::Matrix<Complex, Eigen::Dynamic, Eigen::Dynamic>;

class FourierOps : public LinearConformance {
 protected:
  std::vector<Dense> convolve(const std::vector<Dense>& a, const std::vector<double>& k0) {
    const Matrix in = upload(a);
    const auto kernel = upload_vector(k0);
    Matrix out = unwritten(in.rows, in.cols, in.batch);
    ops.convolve_circulant(in.cview(), kernel.data(), out.view());
    std::vector<Dense> got;
    for (std::int64_t b = 0; b < in.batch; ++b) got.push_back(download(out, b));
    return got;
  }
};

std::vector<double> random_kernel(int n, unsigned seed) {
  const Dense k = random_dense(n, 1, seed);
  return {k.data(), k.data() + n};
}

/// The definition, term by term: sum over (i, j) of x e^{∓2πi(ui + vj)/n}.
Spectrum fft2_by_definition(const Spectrum& x, double sign) {
  const auto n = x.rows();
  Spectrum out = Spectrum::Zero(n, n);
  for (int u = 0; u < n; ++u)
    for (int v = 0; v < n; ++v)
      for (int i = 0; i < n; ++i)
        for (int j = 0; j < n; ++j)
          out(u, v) += x(i, j) *
                       std::polar(1.0, sign * 2 * std::numbers::pi * double((u * i + v * j) % n) / double(n));
  return out;
}

Dense circulant(const std::vector<double>& k0) {
  const int n = int(k0.size());
  Dense out(n, n);
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) out(i, j) = k0[std::size_t(((j - i) % n + n) % n)];
  return out;
}

TEST_P(FourierOps, MatchesTheTransformByDefinition) {
  for (const int n : {1, 2, 3, 4, 5, 6, 7, 12}) {
    const Dense a = random_dense(n, n, 1);
    const auto k0 = random_kernel(n, 2);
    const Spectrum product = fft2_by_definition(a.cast<Complex>(), -1)
                                 .cwiseProduct(fft2_by_definition(circulant(k0).cast<Complex>(), -1));
    const Dense want = fft2_by_definition(product, 1).real() / (n * n);
    EXPECT_LE((convolve({a}, k0)[0] - want).norm(), 1e-12 * want.norm()) << n;
  }
}

// The product of transforms is a circular convolution, and convolving with a circulant leaves a circulant:
// out[i][j] = w[(j − i) mod n], w[t] = Σ_s S[s] k0[(t − s) mod n], S[s] = Σ_i a[i][(i + s) mod n].
TEST_P(FourierOps, MatchesTheClosedFormForEvenOddAndPrimeSizes) {
  for (const int n : {1, 2, 31, 32, 33, 63, 64, 65, 97, 127, 128, 129, 210, 254, 255, 256, 257, 509}) {
    const std::vector<Dense> a{random_dense(n, n, 3), random_dense(n, n, 4).cwiseAbs()};
    const auto k0 = random_kernel(n, 5);
    const auto got = convolve(a, k0);
    for (std::size_t b = 0; b < a.size(); ++b) {
      std::vector<double> diagonal_sum(std::size_t(n), 0), w(std::size_t(n), 0);
      for (int i = 0; i < n; ++i)
        for (int s = 0; s < n; ++s) diagonal_sum[std::size_t(s)] += a[b](i, (i + s) % n);
      for (int t = 0; t < n; ++t)
        for (int s = 0; s < n; ++s)
          w[std::size_t(t)] += diagonal_sum[std::size_t(s)] * k0[std::size_t((t - s + n) % n)];
      const Dense want = circulant(w);
      EXPECT_LE((got[b] - want).norm(), 1e-12 * want.norm()) << n;
    }
  }
}

TEST_P(FourierOps, BitsDoNotDependOnTheWorkers) {
  const std::vector<Dense> a{random_dense(100, 100, 6)};
  const auto k0 = random_kernel(100, 7);
  expect_same_bits_for_any_worker_count([&] {
    const Dense out = convolve(a, k0)[0];
    return std::vector<double>(out.data(), out.data() + out.size());
  });
}

INSTANTIATE_TEST_SUITE_P(Each, FourierOps, ::testing::ValuesIn(available_backends()), backend_name);

}  // namespace
}  // namespace aloft
