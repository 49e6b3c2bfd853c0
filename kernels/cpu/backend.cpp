#include "kernels/cpu/backend.hpp"

#include <cblas.h>
#include <fmt/format.h>
#include <omp.h>

#include <string_view>

#include "host/address_space.hpp"
#include "host/cpu_device.hpp"

namespace aloft::cpu {

Backend make_backend(int threads) {
  expect_address_space(threads);
  omp_set_num_threads(threads > 0 ? threads : omp_get_num_procs());
  openblas_set_num_threads(1);
  Backend backend;
  backend.device = make_cpu_device();
  backend.count = make_count_ops(*backend.device);
  backend.linear = make_linear_ops(*backend.device);
  return backend;
}

std::string describe() {
  // A processor younger than OpenBLAS is taken for the oldest one it knows, SSE3 and all.
  const bool misjudged =
      std::string_view(openblas_get_corename()) == "Prescott" && __builtin_cpu_supports("avx2") != 0;
  return fmt::format("{} processors, {}{}", omp_get_num_procs(), openblas_get_config(),
                     misjudged ? " (it does not know this processor; OPENBLAS_CORETYPE=Haswell in the "
                                 "environment makes it faster, up to several times)"
                               : "");
}

}  // namespace aloft::cpu
