#include "profiles/benchmarks/limits.hpp"

#include <omp.h>

#include <cstring>
#include <random>

#ifdef ALOFT_CUDA
#include "profiles/benchmarks/cuda_side.hpp"
#endif

namespace aloft::profiles {
namespace {

constexpr int kRepetitions = 7;
constexpr std::int64_t kIncrements = std::int64_t{1} << 23;  // a worker, each run
constexpr std::size_t kCopied = std::size_t{256} << 20;      // bytes, beyond every cache

bool on_cuda(const Device& device) { return device.name() == "cuda"; }
int workers_of(const Device& device) { return on_cuda(device) ? 1 : omp_get_max_threads(); }

// tables [workers][slots], indices [workers][kIncrements]
void increment_plainly(std::uint32_t* tables, std::size_t slots, const std::uint32_t* indices, int workers) {
#pragma omp parallel for schedule(static, 1)
  for (int w = 0; w < workers; ++w) {
    std::uint32_t* const table = tables + static_cast<std::size_t>(w) * slots;
    const std::uint32_t* const index = indices + w * kIncrements;
    for (std::int64_t k = 0; k < kIncrements; ++k) ++table[index[k]];
  }
}

void copy_in_parallel(char* to, const char* from, int workers) {
#pragma omp parallel for schedule(static, 1)
  for (int w = 0; w < workers; ++w) {
    const std::size_t part = kCopied / static_cast<std::size_t>(workers);
    std::memcpy(to + part * static_cast<std::size_t>(w), from + part * static_cast<std::size_t>(w), part);
  }
}

}  // namespace

double random_increments_per_second(Device& device, Timer& timer, std::size_t table_bytes) {
  const int workers = workers_of(device);
  const std::size_t slots = table_bytes / sizeof(std::uint32_t);
  const std::int64_t n = kIncrements * workers;
  auto tables = zeros<std::uint32_t>(device, slots * static_cast<std::size_t>(workers));
  std::vector<std::uint32_t> host(static_cast<std::size_t>(n));
  std::mt19937_64 rng(1);
  for (auto& index : host) index = static_cast<std::uint32_t>((rng() >> 32) * slots >> 32);
  const auto indices = to_device<const std::uint32_t>(device, host);
  const double seconds = median_seconds(timer, kRepetitions, [&] {
#ifdef ALOFT_CUDA
    if (on_cuda(device)) return increment_atomically(device, tables.data(), indices.data(), n);
#endif
    increment_plainly(tables.data(), slots, indices.data(), workers);
  });
  return static_cast<double>(n) / seconds;
}

double copy_bytes_per_second(Device& device, Timer& timer) {
  auto from = zeros<char>(device, kCopied), to = zeros<char>(device, kCopied);
  const double seconds = median_seconds(timer, kRepetitions, [&] {
    if (on_cuda(device)) return device.copy(to.data(), from.data(), kCopied);
    copy_in_parallel(to.data(), from.data(), workers_of(device));
  });
  return 2 * static_cast<double>(kCopied) / seconds;
}

double upload_bytes_per_second(Device& device, Timer& timer) {
#ifdef ALOFT_CUDA
  if (on_cuda(device)) {
    auto to = zeros<char>(device, kCopied);
    const PageLocked from(kCopied);
    const double seconds =
        median_seconds(timer, kRepetitions, [&] { device.upload(to.data(), from.data(), kCopied); });
    return static_cast<double>(kCopied) / seconds;
  }
#endif
  (void)device, (void)timer;
  return 0;
}

}  // namespace aloft::profiles
