#include <algorithm>
#include <bit>
#include <filesystem>

#include "pipeline/counts/plan.hpp"
#include "pipeline/run/plan.hpp"
#include "profiles/benchmarks/harness.hpp"
#include "profiles/benchmarks/inputs.hpp"
#include "profiles/benchmarks/limits.hpp"
#include "profiles/benchmarks/npy_writer.hpp"

// B1 (bytes), B2 (dense tables) and B3 (no table): pairs counted per second, all lags together, through the
// contract, in chunks as long as the count stage's plan says.

namespace aloft::profiles {
namespace {

constexpr std::int32_t kLags = 8;

/// Tokens of a chunk of a long corpus: what the count stage plans for this backend.
std::int64_t planned_chunk(const Backend& backend, std::int64_t vocab, CountStrategy strategy) {
  CountParams params;
  params.vocab = vocab;
  params.max_lag = kLags;
  params.strategy = strategy;
  params.device_bytes = device_budget(*backend.device, 0);
  return plan_count(params, *backend.count).chunk_tokens;
}

double pairs_of(std::int64_t tokens) {
  std::int64_t pairs = 0;
  for (std::int64_t lag = 1; lag <= kLags; ++lag) pairs += std::max<std::int64_t>(0, tokens - lag);
  return static_cast<double>(pairs);
}

template <class Visit>
void for_each_chunk(const TokenId* ids, std::int64_t n, std::int64_t length, const Visit& visit) {
  for (std::int64_t at = 0; at < n; at += length) {
    const std::int64_t from = std::min(length, n - at);
    visit(
        TokenChunk{ids + at, from, static_cast<std::int32_t>(std::min<std::int64_t>(kLags, n - at - from))});
  }
}

void write_result(const Options& options, const std::string& name, std::int32_t lag, const CountCsr& csr) {
  const std::string stem = name + "_lag" + std::to_string(lag);
  const std::filesystem::path folder = options.write_results;
  write_npy<std::uint64_t>(folder / (stem + "_offsets.npy"), to_host(csr.row_offsets));
  write_npy<std::uint32_t>(folder / (stem + "_columns.npy"), to_host(csr.columns));
  write_npy<std::uint64_t>(folder / (stem + "_counts.npy"), to_host(csr.values));
}

// What bounds counting into a table. CPU: increments of a table of one lag, the smallest that any kernel can
// touch at a time, and of all lags, the largest. CUDA, bytes: one lag's counters are in a block's shared
// memory, so shared atomics. CUDA, more ids: global atomics, as fast as L2 takes them, and over one lag's
// table, which is in DRAM; skewed ids, whose hot counters stay in L2 or are combined in shared memory, may
// pass both.
std::vector<Limit> dense_limits(Device& device, Timer& timer, std::int64_t vocab, Scale scale) {
  const std::size_t lag_bytes = static_cast<std::size_t>(vocab * vocab) * sizeof(std::uint32_t);
  const auto increments = [&](std::size_t bytes) {
    return random_increments_per_second(device, timer, bytes, scale);
  };
  if (device.name() != "cuda")
    return {{"increments/s(one_lag)", increments(lag_bytes)},
            {"increments/s(all_lags)", increments(kLags * lag_bytes)}};
  if (vocab <= 256) return {{"increments/s(shared)", shared_increments_per_second(device, timer, scale)}};
  return {{"increments/s(L2)", increments(kCachedTable)}, {"increments/s(one_lag)", increments(lag_bytes)}};
}

void run_dense(benchmark::State& state, const Options& options, const std::string& backend_name,
               const CountInput& input, const std::vector<TokenId>& host_ids) {
  const Backend backend = make_backend(backend_name);
  const auto timer = make_timer(*backend.device);
  const auto n = static_cast<std::int64_t>(host_ids.size());
  const auto lag_cells = static_cast<std::size_t>(input.vocab * input.vocab);
  const std::vector<Limit> limits = dense_limits(*backend.device, *timer, input.vocab, options.scale);
  const std::int64_t chunk_tokens = planned_chunk(backend, input.vocab, CountStrategy::dense);
  const auto ids = to_device<const TokenId>(*backend.device, host_ids);
  auto table = zeros<std::uint32_t>(*backend.device, kLags * lag_cells);
  const DenseCounts counts{table.data(), kLags, input.vocab, 0, input.vocab};
  const auto count = [&] {
    for_each_chunk(ids.data(), n, chunk_tokens,
                   [&](TokenChunk chunk) { backend.count->count_pairs_dense(chunk, counts); });
  };
  if (!options.write_results.empty()) {
    count();
    for (std::int32_t lag = 1; lag <= kLags; ++lag)
      write_result(options, input.name() + "_" + backend_name, lag,
                   backend.count->compact(counts, lag, nullptr));
  }
  std::int64_t counted = std::int64_t{1} << 32;
  run_and_report(state, *timer, count, pairs_of(n), "pairs/s", limits, [&] {
    if (counted + n >= std::int64_t{1} << 32) {  // the contract: fewer positions since the table was zero
      backend.device->zero(table.data(), table.size() * sizeof(std::uint32_t));
      counted = 0;
    }
    counted += n;
  });
}

// CPU: a pair must at least be read as an id and lands in one of the distinct pairs' counters. CUDA: pairs
// are sorted as 64-bit keys of two ids (count_sorted.cu). The library's radix sort reads all keys once for
// its histograms, then reads and writes them once for every 8 bits of a key; at a copy's rate that is the
// limit. Making the keys and finding their runs, three further passes over the keys, is not in it.
std::vector<Limit> sparse_limits(Device& device, Timer& timer, std::int64_t vocab, std::size_t counter_bytes,
                                 Scale scale) {
  const double copy = copy_bytes_per_second(device, timer, scale);
  if (device.name() != "cuda")
    return {{"increments/s(counters)", random_increments_per_second(device, timer, counter_bytes, scale)},
            {"copied_ids/s", copy / (2 * sizeof(TokenId))}};
  constexpr int kDigitBits = 8;
  const int key_bits = 2 * static_cast<int>(std::bit_width(static_cast<std::uint64_t>(vocab)));
  const int passes = (key_bits + kDigitBits - 1) / kDigitBits;
  return {{"pairs/s(sort_bytes)", copy / static_cast<double>((1 + 2 * passes) * sizeof(std::uint64_t))}};
}

void run_sparse(benchmark::State& state, const Options& options, const std::string& backend_name,
                const CountInput& input, const std::vector<TokenId>& host_ids) {
  const Backend backend = make_backend(backend_name);
  const auto timer = make_timer(*backend.device);
  const auto n = static_cast<std::int64_t>(host_ids.size());
  const auto ids = to_device<const TokenId>(*backend.device, host_ids);
  const std::int64_t chunk_tokens = planned_chunk(backend, input.vocab, CountStrategy::sparse);
  std::vector<CountCsr> last;
  const auto count = [&] {
    for_each_chunk(ids.data(), n, chunk_tokens, [&](TokenChunk chunk) {
      last = backend.count->count_pairs_sparse(chunk, input.vocab, kLags);
    });
  };
  count();
  if (!options.write_results.empty()) {
    std::vector<CountCsr> sum;
    for_each_chunk(ids.data(), n, chunk_tokens, [&](TokenChunk chunk) {
      auto part = backend.count->count_pairs_sparse(chunk, input.vocab, kLags);
      for (std::size_t i = 0; i < sum.size(); ++i)
        part[i] = backend.count->add(sum[i].view(), part[i].view());
      sum = std::move(part);
    });
    for (std::int32_t lag = 1; lag <= kLags; ++lag)
      write_result(options, input.name() + "_" + backend_name, lag, sum[static_cast<std::size_t>(lag - 1)]);
  }
  const auto counters = static_cast<std::size_t>(last.front().nnz()) * sizeof(std::uint64_t);
  const std::vector<Limit> limits =
      sparse_limits(*backend.device, *timer, input.vocab, counters, options.scale);
  run_and_report(state, *timer, count, pairs_of(n), "pairs/s", limits);
}

}  // namespace

void register_count_benchmarks(const Options& options) {
  for (const std::string& backend : available_backends()) {
    for (const CountInput& input : count_inputs(backend, !options.text.empty(), options.scale)) {
      const auto ids = std::make_shared<std::vector<TokenId>>();  // made once, when a case first runs
      const auto run = input.benchmark == "B3" ? run_sparse : run_dense;
      benchmark::RegisterBenchmark((input.name() + "/" + backend).c_str(),
                                   [=](benchmark::State& state) {
                                     if (ids->empty()) *ids = make_ids(input, options.text);
                                     if (!options.write_inputs.empty())
                                       write_npy<TokenId>(std::filesystem::path(options.write_inputs) /
                                                              (input.name() + "_" + backend + "_ids.npy"),
                                                          *ids);
                                     run(state, options, backend, input, *ids);
                                   })
          ->UseManualTime()
          ->Iterations(options.scale.runs(20))
          ->Unit(benchmark::kMillisecond);
    }
  }
}

}  // namespace aloft::profiles
