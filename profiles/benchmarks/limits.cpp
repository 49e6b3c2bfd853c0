#include "profiles/benchmarks/limits.hpp"

#include <omp.h>

#include <cstring>
#include <random>

#include "host/error.hpp"
#ifdef ALOFT_CUDA
#include "profiles/benchmarks/cuda_side.hpp"
#endif

namespace aloft::profiles {
namespace {

constexpr int kRepetitions = 7;
constexpr std::int64_t kIncrements = std::int64_t{1} << 23;        // a worker, each run
constexpr std::int64_t kGlobalIncrements = std::int64_t{1} << 28;  // CUDA, each run: milliseconds
constexpr std::int64_t kSharedIncrements = std::int64_t{1} << 31;
constexpr std::int64_t kCopied = std::int64_t{256} << 20;  // bytes, beyond every cache

bool on_cuda(const Device& device) { return device.name() == "cuda"; }
int workers_of(const Device& device) { return on_cuda(device) ? 1 : omp_get_max_threads(); }

// tables [workers][slots], indices [workers][n]
void increment_plainly(std::uint32_t* tables, std::size_t slots, const std::uint32_t* indices, std::int64_t n,
                       int workers) {
#pragma omp parallel for schedule(static, 1)
  for (int w = 0; w < workers; ++w) {
    std::uint32_t* const table = tables + static_cast<std::size_t>(w) * slots;
    const std::uint32_t* const index = indices + w * n;
    for (std::int64_t k = 0; k < n; ++k) ++table[index[k]];
  }
}

void copy_in_parallel(char* to, const char* from, std::size_t bytes, int workers) {
#pragma omp parallel for schedule(static, 1)
  for (int w = 0; w < workers; ++w) {
    const std::size_t part = bytes / static_cast<std::size_t>(workers);
    std::memcpy(to + part * static_cast<std::size_t>(w), from + part * static_cast<std::size_t>(w), part);
  }
}

double plain_increments_per_second(Device& device, Timer& timer, std::size_t slots, std::int64_t n) {
  const int workers = workers_of(device);
  auto tables = zeros<std::uint32_t>(device, slots * static_cast<std::size_t>(workers));
  std::vector<std::uint32_t> indices(static_cast<std::size_t>(n * workers));
  std::mt19937_64 rng(1);
  for (auto& index : indices) index = static_cast<std::uint32_t>((rng() >> 32) * slots >> 32);
  const double seconds = median_seconds(
      timer, kRepetitions, [&] { increment_plainly(tables.data(), slots, indices.data(), n, workers); });
  return static_cast<double>(n * workers) / seconds;
}

}  // namespace

double random_increments_per_second(Device& device, Timer& timer, std::size_t table_bytes, Scale scale) {
  const std::size_t slots = table_bytes / sizeof(std::uint32_t);
#ifdef ALOFT_CUDA
  if (on_cuda(device)) {
    auto table = zeros<std::uint32_t>(device, slots);
    std::int64_t done = 0;
    const double seconds = median_seconds(timer, kRepetitions, [&] {
      done = increment_global(device, table.data(), slots, scale.length(kGlobalIncrements));
    });
    return static_cast<double>(done) / seconds;
  }
#endif
  return plain_increments_per_second(device, timer, slots, scale.length(kIncrements));
}

double shared_increments_per_second(Device& device, Timer& timer, Scale scale) {
  expects(on_cuda(device), "shared memory belongs to a GPU");
#ifdef ALOFT_CUDA
  const SharedIncrements increments(device, scale.length(kSharedIncrements));
  const double seconds = median_seconds(timer, kRepetitions, [&] { increments.run(); });
  expects(increments.counted() == increments.total(), "an increment in shared memory was lost");
  return static_cast<double>(increments.total()) / seconds;
#else
  (void)timer, (void)scale;
  return 0;
#endif
}

double copy_bytes_per_second(Device& device, Timer& timer, Scale scale) {
  const auto bytes = static_cast<std::size_t>(scale.length(kCopied));
  auto from = zeros<char>(device, bytes), to = zeros<char>(device, bytes);
  const double seconds = median_seconds(timer, kRepetitions, [&] {
    if (on_cuda(device)) return device.copy(to.data(), from.data(), bytes);
    copy_in_parallel(to.data(), from.data(), bytes, workers_of(device));
  });
  return 2 * static_cast<double>(bytes) / seconds;
}

double upload_bytes_per_second(Device& device, Timer& timer, Scale scale) {
#ifdef ALOFT_CUDA
  if (on_cuda(device)) {
    const auto bytes = static_cast<std::size_t>(scale.length(kCopied));
    auto to = zeros<char>(device, bytes);
    const PageLocked from(bytes);
    const double seconds =
        median_seconds(timer, kRepetitions, [&] { device.upload(to.data(), from.data(), bytes); });
    return static_cast<double>(bytes) / seconds;
  }
#endif
  (void)device, (void)timer, (void)scale;
  return 0;
}

}  // namespace aloft::profiles
