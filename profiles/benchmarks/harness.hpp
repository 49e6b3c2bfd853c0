#pragma once
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/ops.hpp"

// What every group of benchmarks shares: the program's own flags, a clock for a device's queue, and the form
// in which a figure is reported. A group is one file with one `register_*` function, called by main.cpp.

namespace aloft::profiles {

/// --scale N, for rehearsals where a full run would take days (kernels executed on a CPU). Names of cases
/// follow the sizes, so no figure of such a run passes for a real one. 0: everything as it is.
struct Scale {
  int power = 0;

  /// Tokens, increments, bytes moved: divided by 2^N.
  [[nodiscard]] std::int64_t length(std::int64_t n) const {
    return power == 0 ? n : std::max(std::min<std::int64_t>(n, 1024), n >> power);
  }
  /// Vocabularies and widths: divided by 2^N, by 2^5 at most, so that different ones stay different and a
  /// dense table of many ids stays one.
  [[nodiscard]] std::int64_t width(std::int64_t n) const { return n >> std::min(power, 5); }
  [[nodiscard]] std::int64_t runs(std::int64_t n) const {
    return power == 0 ? n : std::min<std::int64_t>(n, 2);
  }
};

struct Options {
  std::string text;           ///< real text for the inputs that want it; "": those cases are left out
  std::string write_inputs;   ///< a folder for the inputs as .npy, for peers to read
  std::string write_results;  ///< a folder for what the cases computed as .npy, for peers to compare
  Scale scale;
};

/// Measures work put on one device's queue: the wall clock on the CPU, events on the stream on CUDA.
class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  virtual ~Timer() = default;
  /// Seconds that `work` takes on the device. Synchronises before and after.
  [[nodiscard]] virtual double seconds(const std::function<void()>& work) = 0;
};
[[nodiscard]] std::unique_ptr<Timer> make_timer(Device& device);

[[nodiscard]] double median(std::vector<double> values);

/// Median seconds of `repetitions` runs of `work`, after one that is not counted.
[[nodiscard]] double median_seconds(Timer& timer, int repetitions, const std::function<void()>& work);

/// A rate that the hardware allows, measured in the same run, in the unit of the figure it bounds.
struct Limit {
  std::string name;  ///< of its counter
  double rate = 0;
};

/// Runs `work` once to warm up, then as often as `state` asks, timed by `timer`; after kMostSeconds of that
/// no further run starts, and what is left of `state` repeats the last time (where the warm-up alone takes so
/// long, its own). Counters: `unit` (work_items divided by the median time of this repetition), every limit
/// under its name, and "of:NAME" = the ratio to it. `before`: untimed, ahead of each run; may be empty.
inline constexpr double kMostSeconds = 5;
void run_and_report(benchmark::State& state, Timer& timer, const std::function<void()>& work,
                    double work_items, const std::string& unit, const std::vector<Limit>& limits,
                    const std::function<void()>& before = {});

void register_count_benchmarks(const Options& options);       // B1, B2, B3
void register_projection_benchmarks(const Options& options);  // B4
void register_spectra_benchmarks(const Options& options);     // B5
void register_limit_benchmarks(const Options& options);       // limit_*: a GPU's own rates

}  // namespace aloft::profiles
