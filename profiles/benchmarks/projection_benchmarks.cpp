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

std::vector<ProjectionInput> inputs_for(const std::string& backend, bool with_text) {
  const bool cuda = backend == "cuda";
  const std::int64_t vocab = cuda ? 50257 : 8192, tokens = std::int64_t{1} << (cuda ? 24 : 22),
                     d = cuda ? 1024 : 256;
  std::vector<ProjectionInput> out{{{"B4", "zipf", vocab, tokens}, d}};
  if (with_text) out.push_back({{"B4", "text", vocab, 1}, d});
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
  // The dense product at GEMM's rate, after T and E were read and T·E written once at the rate of a copy.
  const auto nnz = static_cast<double>(x.transitions.nnz()), elements = static_cast<double>(vocab * d);
  const double dense = 2 * elements * static_cast<double>(d),
               flops = dense + 2 * nnz * static_cast<double>(d);
  const double bytes = nnz * (sizeof(double) + sizeof(std::uint32_t)) + 2 * elements * sizeof(double);
  const double gemm = gemm_flops_per_second(backend, *timer);
  const double copy = copy_bytes_per_second(*backend.device, *timer);
  const std::vector<Limit> limits{{"flop/s(gemm_after_copy)", flops / (dense / gemm + bytes / copy)},
                                  {"flop/s(gemm)", gemm}};
  run_and_report(state, *timer, project, flops, "flop/s", limits);
}

}  // namespace

void register_projection_benchmarks(const Options& options) {
  for (const std::string& backend : available_backends()) {
    if (make_backend(backend).linear == nullptr) continue;
    for (const ProjectionInput& input : inputs_for(backend, !options.text.empty()))
      benchmark::RegisterBenchmark((input.name() + "/" + backend).c_str(),
                                   [=](benchmark::State& state) { run(state, options, backend, input); })
          ->UseManualTime()
          ->Iterations(20)
          ->Unit(benchmark::kMillisecond);
  }
}

}  // namespace aloft::profiles
