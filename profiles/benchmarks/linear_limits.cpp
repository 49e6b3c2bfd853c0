#include "profiles/benchmarks/linear_limits.hpp"

namespace aloft::profiles {

double gemm_flops_per_second(const Backend& backend, Timer& timer) {
  constexpr int kRepetitions = 7;
  const std::int64_t n = backend.device->name() == "cuda" ? 4096 : 1536;  // fills the device, takes < 1 s
  Matrix a(*backend.device, n, n), b(*backend.device, n, n), c(*backend.device, n, n);
  backend.linear->fill_normal(a.view(), 1, 0, 1);
  backend.linear->fill_normal(b.view(), 1, 1, 1);
  const double seconds = median_seconds(timer, kRepetitions, [&] {
    backend.linear->gemm(1, Op::none, a.view(), Op::none, b.view(), 0, c.view());
  });
  const auto size = static_cast<double>(n);
  return 2 * size * size * size / seconds;
}

}  // namespace aloft::profiles
