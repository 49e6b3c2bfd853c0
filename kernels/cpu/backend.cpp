#include "kernels/cpu/backend.hpp"

#include <cblas.h>
#include <fmt/format.h>
#include <omp.h>

#include "host/cpu_device.hpp"

namespace aloft::cpu {

Backend make_backend(int threads) {
  omp_set_num_threads(threads > 0 ? threads : omp_get_num_procs());
  openblas_set_num_threads(1);
  Backend backend;
  backend.device = make_cpu_device();
  backend.count = make_count_ops(*backend.device);
  backend.linear = make_linear_ops(*backend.device);
  return backend;
}

std::string describe() {
  return fmt::format("{} processors, {}", omp_get_num_procs(), openblas_get_config());
}

}  // namespace aloft::cpu
