#include "profiles/benchmarks/linear_limits.hpp"

#include "host/error.hpp"
#ifdef ALOFT_CUDA
#include "profiles/benchmarks/cuda_side.hpp"
#endif

namespace aloft::profiles {
namespace {

constexpr int kRepetitions = 7;

}  // namespace

double gemm_flops_per_second(const Backend& backend, Timer& timer, Scale scale) {
  // fills the device, takes < 1 s
  const std::int64_t n = scale.width(backend.device->name() == "cuda" ? 4096 : 1536);
  Matrix a(*backend.device, n, n), b(*backend.device, n, n), c(*backend.device, n, n);
  backend.linear->fill_normal(a.view(), 1, 0, 1);
  backend.linear->fill_normal(b.view(), 1, 1, 1);
  const double seconds = median_seconds(timer, kRepetitions, [&] {
    backend.linear->gemm(1, Op::none, a.view(), Op::none, b.view(), 0, c.view());
  });
  const auto size = static_cast<double>(n);
  return 2 * size * size * size / seconds;
}

double gather_seconds(Device& device, Timer& timer, RealCsrView a, ConstMatrixView x) {
  expects(device.name() == "cuda", "rows are gathered by a CUDA kernel");
#ifdef ALOFT_CUDA
  Buffer<double> sums(device, static_cast<std::size_t>(kGatherWorkers * x.cols));
  return median_seconds(timer, kRepetitions,
                        [&] { gather_rows(device, a.columns, a.nnz, x.data, x.cols, sums.data()); });
#else
  (void)timer, (void)a, (void)x;
  return 0;
#endif
}

}  // namespace aloft::profiles
