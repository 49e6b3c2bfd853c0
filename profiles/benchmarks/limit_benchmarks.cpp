#include "profiles/benchmarks/harness.hpp"
#include "profiles/benchmarks/limits.hpp"
#include "profiles/benchmarks/linear_limits.hpp"

// limit_*: what a GPU allows, each rate as a case of its own: the first seconds on a new one.

namespace aloft::profiles {
namespace {

struct Rate {
  std::string name, unit;
  std::function<double(const Backend&, Timer&, Scale)> measure;
};

std::vector<Rate> rates() {
  const auto increments_in = [](std::int64_t table_bytes) {
    return [=](const Backend& b, Timer& timer, Scale scale) {
      const auto bytes = static_cast<std::size_t>(scale.length(table_bytes));
      return random_increments_per_second(*b.device, timer, bytes, scale);
    };
  };
  const auto of_device = [](double (*measure)(Device&, Timer&, Scale)) {
    return [=](const Backend& b, Timer& timer, Scale scale) { return measure(*b.device, timer, scale); };
  };
  return {{"limit_copy", "bytes/s", of_device(copy_bytes_per_second)},
          {"limit_upload", "bytes/s", of_device(upload_bytes_per_second)},
          {"limit_increments_shared", "increments/s", of_device(shared_increments_per_second)},
          {"limit_increments_L2", "increments/s", increments_in(kCachedTable)},
          {"limit_increments_DRAM", "increments/s", increments_in(std::int64_t{1} << 30)},
          {"limit_gemm", "flop/s", gemm_flops_per_second}};
}

}  // namespace

void register_limit_benchmarks(const Options& options) {
  for (const std::string& name : available_backends()) {
    if (name != "cuda") continue;
    for (const Rate& rate : rates())
      benchmark::RegisterBenchmark((rate.name + "/" + name).c_str(),
                                   [=](benchmark::State& state) {
                                     const Backend backend = make_backend(name);
                                     const auto timer = make_timer(*backend.device);
                                     for (auto _ : state)
                                       state.counters[rate.unit] =
                                           rate.measure(backend, *timer, options.scale);
                                   })
          ->Iterations(1)
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
  }
}

}  // namespace aloft::profiles
