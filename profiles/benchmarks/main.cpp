#include <fmt/core.h>

#include <charconv>
#include <cstdio>
#include <string_view>

#include "host/error.hpp"
#include "kernels/ops.hpp"
#include "profiles/benchmarks/harness.hpp"

// aloft_benchmarks [--text FILE] [--write-inputs FOLDER] [--write-results FOLDER] [--scale N]
//   [Google Benchmark's flags]
// aloft_benchmarks --backends    which backends it has, and whether they can be used here

namespace {

using namespace aloft;

constexpr int kMostScale = 20;

// Takes the program's own flags out of argv and leaves the library's.
profiles::Options take_options(int& argc, char** argv) {
  profiles::Options options;
  std::string scale = "0";
  int kept = 1;
  for (int k = 1; k < argc; ++k) {
    const std::string_view flag = argv[k];
    std::string* const value = flag == "--text"            ? &options.text
                               : flag == "--write-inputs"  ? &options.write_inputs
                               : flag == "--write-results" ? &options.write_results
                               : flag == "--scale"         ? &scale
                                                           : nullptr;
    if (value == nullptr) {
      argv[kept++] = argv[k];
    } else if (++k < argc) {
      *value = argv[k];
    } else {
      throw UsageError(std::string(flag) + ": a value is missing");
    }
  }
  argc = kept;
  const auto [end, error] = std::from_chars(scale.data(), scale.data() + scale.size(), options.scale.power);
  if (error != std::errc() || end != scale.data() + scale.size() || options.scale.power < 0 ||
      options.scale.power > kMostScale)
    throw UsageError(fmt::format("--scale {}: a number from 0 to {} is wanted", scale, kMostScale));
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 2 && std::string_view(argv[1]) == "--backends") {
      for (const BackendInfo& b : backends())
        fmt::print("backend {}: {}: {}\n", b.name, b.usable ? "ok" : "not usable", b.detail);
      return 0;
    }
    const profiles::Options options = take_options(argc, argv);
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    profiles::register_limit_benchmarks(options);
    profiles::register_count_benchmarks(options);
    profiles::register_projection_benchmarks(options);
    profiles::register_spectra_benchmarks(options);
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
  } catch (const UsageError& e) {
    fmt::print(stderr, "aloft_benchmarks: {}\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    fmt::print(stderr, "aloft_benchmarks: {}\n", e.what());
    return 1;
  }
}
