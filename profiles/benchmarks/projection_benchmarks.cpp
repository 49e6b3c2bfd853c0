#include <cmath>
#include <filesystem>

#include "profiles/benchmarks/harness.hpp"
#include "profiles/benchmarks/inputs.hpp"
#include "profiles/benchmarks/limits.hpp"
#include "profiles/benchmarks/linear_limits.hpp"
#include "profiles/benchmarks/npy_writer.hpp"

// B4: P = Eᵀ T E through the contract, T the transitions at lag 1 as sparse rows, E [V, d] dense, all
// doubles. Work: 2·nnz·d + 2·V·d² operations.

namespace aloft::profiles {
namespace {

constexpr std::int32_t kLag = 1;

struct ProjectionInput {
  CountInput corpus;
  std::int64_t d = 0;

  [[nodiscard]] std::string name() const { return corpus.name() + "_d" + std::to_string(d); }
};

struct Operands {
  RealCsr transitions;  ///< [V, V], rows sum to 1 (or are empty)
  Matrix embedding;     ///< [V, d], standard normal / √d
};

std::vector<ProjectionInput> inputs_for(const std::string& backend, bool with_text, Scale scale) {
  const bool cuda = backend == "cuda";
  const std::int64_t vocab = scale.width(cuda ? 50257 : 8192), d = scale.width(cuda ? 1024 : 256),
                     tokens = scale.length(std::int64_t{1} << (cuda ? 24 : 22));
  std::vector<ProjectionInput> out{{{"B4", "zipf", vocab, tokens, scale}, d}};
  if (with_text) out.push_back({{"B4", "text", vocab, 1, scale}, d});
  return out;
}

/// Made on the CPU, so that every backend gets the same numbers; then on `device`.
Operands operands(const ProjectionInput& input, const std::string& text, Device& device) {
  const Backend cpu = make_backend("cpu");
  const std::vector<TokenId> ids = make_ids(input.corpus, text);
  const TokenChunk all{ids.data(), static_cast<std::int64_t>(ids.size()), 0};
  const std::vector<CountCsr> lags = cpu.count->count_pairs_sparse(all, input.corpus.vocab, kLag);
  const CountCsrView counts = lags.front().view();
  Buffer<std::uint64_t> sums(*cpu.device, static_cast<std::size_t>(counts.rows));
  cpu.linear->marginals(counts, sums.data(), nullptr);
  std::vector<double> scale;
  for (const std::uint64_t sum : to_host(sums)) scale.push_back(sum == 0 ? 0 : 1 / static_cast<double>(sum));
  Matrix e(*cpu.device, counts.rows, input.d);
  cpu.linear->fill_normal(e.view(), 20261125, 0, 1 / std::sqrt(static_cast<double>(input.d)));
  Operands out;
  out.transitions = moved(cpu.linear->to_real(counts, scale.data()), device);
  out.embedding.data = moved(e.data, device);
  out.embedding.rows = e.rows, out.embedding.cols = e.cols;
  return out;
}

void write_inputs(const std::string& folder, const std::string& stem, const Operands& x) {
  const auto path = [&](const char* part) { return std::filesystem::path(folder) / (stem + part); };
  write_npy<std::uint64_t>(path("_offsets.npy"), to_host(x.transitions.row_offsets));
  write_npy<std::uint32_t>(path("_columns.npy"), to_host(x.transitions.columns));
  write_npy<double>(path("_values.npy"), to_host(x.transitions.values));
  write_npy<double>(path("_embedding.npy"), to_host(x.embedding.data));
}

// The dense product at GEMM's rate. Before it, CPU: T and E read and T·E written once at the rate of a copy,
// as if E stayed in the caches. CUDA, where E is many times L2: row j of E fetched for every non-zero (i, j)
// of T, by a kernel that does only that; T's values read and T·E written at the rate of a copy.
std::vector<Limit> limits_of(const Backend& backend, Timer& timer, const Operands& x, double flops,
                             Scale scale) {
  const auto nnz = static_cast<double>(x.transitions.nnz());
  const auto elements = static_cast<double>(x.embedding.rows * x.embedding.cols);
  const double gemm = gemm_flops_per_second(backend, timer, scale);
  const double copy = copy_bytes_per_second(*backend.device, timer, scale);
  const double dense = 2 * elements * static_cast<double>(x.embedding.cols) / gemm;
  const Limit alone{"flop/s(gemm)", gemm};
  if (backend.device->name() != "cuda") {
    const double bytes = nnz * (sizeof(double) + sizeof(std::uint32_t)) + 2 * elements * sizeof(double);
    return {{"flop/s(gemm_after_copy)", flops / (dense + bytes / copy)}, alone};
  }
  const double gather = gather_seconds(*backend.device, timer, x.transitions.view(), x.embedding.cview());
  const double streamed = (nnz + elements) * sizeof(double) / copy;
  return {{"flop/s(gemm_after_gather)", flops / (dense + gather + streamed)}, alone};
}

void run(benchmark::State& state, const Options& options, const std::string& backend_name,
         const ProjectionInput& input) {
  const Backend backend = make_backend(backend_name);
  const auto timer = make_timer(*backend.device);
  const Operands x = operands(input, options.text, *backend.device);
  const std::string stem = input.name() + "_" + backend_name;
  if (!options.write_inputs.empty()) write_inputs(options.write_inputs, stem, x);

  const std::int64_t vocab = input.corpus.vocab, d = input.d;
  Matrix seen(*backend.device, vocab, d), projection(*backend.device, d, d);  // seen = T·E
  const auto project = [&] {
    backend.linear->spmm(x.transitions.view(), x.embedding.view(), seen.view());
    backend.linear->gemm(1, Op::transpose, x.embedding.view(), Op::none, seen.view(), 0, projection.view());
  };
  if (!options.write_results.empty()) {
    project();
    write_npy<double>(std::filesystem::path(options.write_results) / (stem + "_projection.npy"),
                      to_host(projection.data));
  }
  const double flops = 2 * static_cast<double>(d) * static_cast<double>(x.transitions.nnz() + vocab * d);
  run_and_report(state, *timer, project, flops, "flop/s",
                 limits_of(backend, *timer, x, flops, options.scale));
}

}  // namespace

void register_projection_benchmarks(const Options& options) {
  for (const std::string& backend : available_backends()) {
    for (const ProjectionInput& input : inputs_for(backend, !options.text.empty(), options.scale))
      benchmark::RegisterBenchmark((input.name() + "/" + backend).c_str(),
                                   [=](benchmark::State& state) { run(state, options, backend, input); })
          ->UseManualTime()
          ->Iterations(options.scale.runs(20))
          ->Unit(benchmark::kMillisecond);
  }
}

}  // namespace aloft::profiles
