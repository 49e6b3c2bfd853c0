#include "profiles/benchmarks/harness.hpp"

#include <algorithm>
#include <chrono>

#include "host/error.hpp"
#ifdef ALOFT_CUDA
#include "profiles/benchmarks/cuda_side.hpp"
#endif

namespace aloft::profiles {
namespace {

class WallClock final : public Timer {
 public:
  explicit WallClock(Device& device) : device_(device) {}
  double seconds(const std::function<void()>& work) override {
    device_.synchronize();
    const auto start = std::chrono::steady_clock::now();
    work();
    device_.synchronize();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

 private:
  Device& device_;
};

}  // namespace

std::unique_ptr<Timer> make_timer(Device& device) {
#ifdef ALOFT_CUDA
  if (device.name() == "cuda") return make_event_timer(device);
#endif
  return std::make_unique<WallClock>(device);
}

double median(std::vector<double> values) {
  expects(!values.empty(), "the median of nothing");
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double median_seconds(Timer& timer, int repetitions, const std::function<void()>& work) {
  (void)timer.seconds(work);
  std::vector<double> seconds;
  for (int k = 0; k < repetitions; ++k) seconds.push_back(timer.seconds(work));
  return median(std::move(seconds));
}

void run_and_report(benchmark::State& state, Timer& timer, const std::function<void()>& work,
                    double work_items, const std::string& unit, const std::vector<Limit>& limits,
                    const std::function<void()>& before) {
  if (before) before();
  const double warm_up = timer.seconds(work);
  std::vector<double> seconds;
  double spent = warm_up >= kMostSeconds ? seconds.emplace_back(warm_up) : 0;
  for (auto _ : state) {
    if (spent < kMostSeconds) {
      if (before) before();
      spent += seconds.emplace_back(timer.seconds(work));
    }
    state.SetIterationTime(seconds.back());
  }
  const double rate = work_items / median(std::move(seconds));
  state.counters[unit] = rate;
  for (const Limit& limit : limits) {
    state.counters[limit.name] = limit.rate;
    state.counters["of:" + limit.name] = rate / limit.rate;
  }
}

}  // namespace aloft::profiles
