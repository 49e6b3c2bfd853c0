#include <filesystem>

#include "profiles/benchmarks/harness.hpp"
#include "profiles/benchmarks/limits.hpp"
#include "profiles/benchmarks/linear_limits.hpp"
#include "profiles/benchmarks/npy_writer.hpp"

// B5: spectra of a batch of [d, d] matrices through the contract, antisymmetric ones as planes
// (skew_spectrum) and general ones (svd), with and without their vectors. Gaussian matrices, doubles.

namespace aloft::profiles {
namespace {

struct SpectraCase {
  bool antisymmetric = false;
  bool vectors = false;
  std::int64_t d = 0, batch = 0;

  [[nodiscard]] std::string name() const {
    return std::string(antisymmetric ? "B5_antisymmetric" : "B5_general") + "_d" + std::to_string(d) +
           "_batch" + std::to_string(batch) + (vectors ? "_vectors" : "");
  }
  /// Operations a matrix in units of d³, of the usual algorithms' leading terms: reduction by reflections
  /// (4/3 to tridiagonal form, 8/3 to bidiagonal), and 2 for each set of vectors transformed back.
  [[nodiscard]] double flops() const {
    const double reduction = antisymmetric ? 4.0 / 3 : 8.0 / 3, back = antisymmetric ? 2 : 4;
    const auto n = static_cast<double>(d);
    return (reduction + (vectors ? back : 0)) * n * n * n;
  }
  /// The matrix read once, results written once.
  [[nodiscard]] double bytes() const {
    const auto n = static_cast<double>(d), sigmas = antisymmetric ? n / 2 : n;
    const double written = sigmas + (vectors ? (antisymmetric ? n * n : 2 * n * n) : 0);
    return (n * n + written) * sizeof(double);
  }
};

// General matrices are taken one by one on CUDA (vendor_solver.cpp): a longer batch is the same rate, later.
std::vector<SpectraCase> cases_for(const std::string& backend, Scale scale) {
  const bool cuda = backend == "cuda";
  std::vector<SpectraCase> out;
  for (const bool antisymmetric : {true, false})
    for (const std::int64_t batch : {8, 64})
      for (const std::int64_t d : {256, 512, 1024})
        for (const bool vectors : {false, true})
          if (cuda ? antisymmetric || batch == 8 : batch == 8 && d <= 512)
            out.push_back({antisymmetric, vectors, scale.width(d), batch});
  return out;
}

/// Made on the CPU, so that every backend gets the same numbers; then on `device`. [batch][d, d]
Matrix matrices(const SpectraCase& c, Device& device) {
  const Backend cpu = make_backend("cpu");
  Matrix out(*cpu.device, c.d, c.d, c.batch);
  cpu.linear->fill_normal(out.view(), 20261125, static_cast<std::uint64_t>(c.d), 1);
  if (c.antisymmetric) {
#pragma omp parallel for schedule(static)
    for (std::int64_t item = 0; item < c.batch; ++item) {
      double* const a = out.view().item(item).data;
      for (std::int64_t i = 0; i < c.d; ++i) {
        a[i * c.d + i] = 0;
        for (std::int64_t j = 0; j < i; ++j) a[j * c.d + i] = -a[i * c.d + j];
      }
    }
  }
  out.data = moved(out.data, device);
  return out;
}

void run(benchmark::State& state, const Options& options, const std::string& backend_name,
         const SpectraCase& c) {
  const Backend backend = make_backend(backend_name);
  Device& device = *backend.device;
  const auto timer = make_timer(device);
  const Matrix a = matrices(c, device);
  const std::string stem = c.name() + "_" + backend_name;
  if (!options.write_inputs.empty())
    write_npy<double>(std::filesystem::path(options.write_inputs) / (stem + "_matrices.npy"),
                      to_host(a.data));

  const std::int64_t values = c.antisymmetric ? c.d / 2 : c.d;
  Buffer<double> sigma(device, static_cast<std::size_t>(c.batch * values));
  Matrix left, right;  // planes [values, d]; or u and vᵀ [d, d]
  if (c.vectors) {
    left = Matrix(device, values, c.d, c.batch);
    right = Matrix(device, values, c.d, c.batch);
  }
  const auto decompose = [&] {
    if (c.antisymmetric)
      backend.linear->skew_spectrum(a.view(), sigma.data(), left.view(), right.view());
    else
      backend.linear->svd(a.view(), left.view(), sigma.data(), right.view());
  };
  if (!options.write_results.empty()) {
    decompose();
    write_npy<double>(std::filesystem::path(options.write_results) / (stem + "_sigma.npy"), to_host(sigma));
  }
  const std::vector<Limit> limits{
      {"matrices/s(gemm)", gemm_flops_per_second(backend, *timer, options.scale) / c.flops()},
      {"matrices/s(copy)", copy_bytes_per_second(device, *timer, options.scale) / c.bytes()}};
  run_and_report(state, *timer, decompose, static_cast<double>(c.batch), "matrices/s", limits);
}

}  // namespace

void register_spectra_benchmarks(const Options& options) {
  for (const std::string& backend : available_backends()) {
    for (const SpectraCase& c : cases_for(backend, options.scale))
      benchmark::RegisterBenchmark((c.name() + "/" + backend).c_str(),
                                   [=](benchmark::State& state) { run(state, options, backend, c); })
          ->UseManualTime()
          ->Iterations(options.scale.runs(c.d * c.batch <= 512 * 8 ? 11 : 5))
          ->Unit(benchmark::kMillisecond);
  }
}

}  // namespace aloft::profiles
