#pragma once
#include <cstdint>
#include <exception>

namespace aloft::cpu {

/// work(i) for i in [0, n) on the OpenMP workers, `grain` consecutive i at a time. The caller makes each i
/// independent of every other, so that results do not depend on the number of workers. An exception is
/// rethrown here; of several, the one of the smallest i that threw.
template <class Work>
void parallel_for(std::int64_t n, const Work& work, std::int64_t grain = 1) {
  std::exception_ptr error;
  std::int64_t error_at = n;
#pragma omp parallel for schedule(dynamic, grain) if (n > grain)
  for (std::int64_t i = 0; i < n; ++i) {
    try {
      work(i);
    } catch (...) {
#pragma omp critical(aloft_parallel_for)
      if (i < error_at) {
        error_at = i;
        error = std::current_exception();
      }
    }
  }
  if (error) std::rethrow_exception(error);
}

/// ceil(n / step): how many blocks of `step` cover n.
constexpr std::int64_t blocks_of(std::int64_t n, std::int64_t step) { return (n + step - 1) / step; }

}  // namespace aloft::cpu
