#include "pipeline/run_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "host/error.hpp"

namespace aloft {
namespace {

constexpr std::uint64_t kReal = sizeof(double);
constexpr std::uint64_t kProgram = std::uint64_t{64} << 20;  // code, libraries, thread stacks

std::uint64_t embed_bytes(const RunConfig& config, std::uint64_t v, std::uint64_t d,
                          std::uint64_t lag_bytes) {
  if (config.embedding == "mobius") return 6 * v * v * kReal;
  if (config.embedding != "ppmi-svd") return 2 * v * d * kReal;
  // The symmetrised matrix and its PMI, then the Krylov basis (about 2.5 d vectors with its restart copy).
  return 4 * lag_bytes + 5 * v * d * kReal;
}

std::string gib(std::uint64_t bytes) {
  return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / (1u << 30));
}

}  // namespace

std::uint64_t RunPlan::peak_memory() const {
  std::uint64_t peak = 0;
  for (const StagePlan& s : stages) peak = std::max(peak, s.memory_bytes);
  return peak;
}

std::uint64_t RunPlan::peak_device_memory() const {
  std::uint64_t peak = 0;
  for (const StagePlan& s : stages) peak = std::max(peak, s.device_bytes);
  return peak;
}

std::uint64_t RunPlan::disk() const {
  return std::accumulate(stages.begin(), stages.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const StagePlan& s) { return sum + s.disk_bytes; });
}

CountParams count_params(const RunConfig& config, const CorpusFacts& corpus, std::uint64_t device_budget) {
  CountParams p;
  p.vocab = corpus.vocab;
  p.max_lag = config.lags;
  p.strategy = config.strategy;
  p.memory_bytes = config.memory_bytes;
  p.device_bytes = device_budget;
  p.expected_tokens = corpus.expected_tokens;
  p.repeatable = corpus.repeatable;
  return p;
}

RunPlan plan_run(const RunConfig& config, const ModelShape& shape, const CorpusFacts& corpus,
                 const Backend& backend) {
  RunPlan plan;
  plan.device_budget = device_budget(*backend.device, config.device_bytes);
  // A stage's matrices lie in the device's memory where it has its own; the host then holds about as much at
  // a time while results are saved.
  const auto stage = [&](const std::string& name, std::uint64_t bytes, std::uint64_t disk,
                         const std::string& note) {
    plan.stages.push_back({name, kProgram + bytes, plan.device_budget > 0 ? bytes : 0, disk, note});
  };
  const auto v = static_cast<std::uint64_t>(corpus.vocab), d = static_cast<std::uint64_t>(shape.d_model);
  const auto layers = static_cast<std::uint64_t>(shape.layers),
             lags = static_cast<std::uint64_t>(config.lags);
  const auto heads_rows = static_cast<std::uint64_t>(2 * (shape.heads + shape.kv_heads) * shape.head_dim);
  const std::uint64_t weights = layers * heads_rows * d;
  const std::uint64_t out_bytes = dtype_bytes(config.dtype);

  const bool offset = is_offset_recipe(config.compose.recipe);
  const bool spectral = !offset && recipe_reads_corpus(config.compose.recipe);
  if (offset || spectral) {
    CountParams count = count_params(config, corpus, plan.device_budget);
    plan.count = plan_count(count, *backend.count);
    const std::uint64_t counts = plan.count.result_bytes, lag = counts / lags;
    const std::uint64_t embedding = v * d * kReal, squares = lags * d * d * kReal;
    stage("count", plan.count.total_bytes(), counts, strategy_name(plan.count.strategy));
    if (plan.count.on_device) plan.stages.back().memory_bytes = kProgram + counts + plan.count.staging_bytes;
    if (offset) {
      // The class means and discriminants of all designed lags, half the width each; the Krylov basis.
      const std::uint64_t means = v * std::min(lags, layers) * d / 2 * kReal;
      stage("factors", 3 * counts + 3 * means + 5 * embedding, embedding, "");
    }
    if (spectral) {
      stage("embed", counts + embedding + embed_bytes(config, v, d, lag), v * d * 4, config.embedding);
      stage("project", counts + 3 * embedding + lag + 5 * squares, 4 * squares, "");
      stage("decompose", counts + embedding + 8 * squares, squares + lags * d * kReal, "");
      stage("expand", counts + embedding + 10 * squares, layers * d * d * kReal, "");
      if (config.null_tokens > 0) {
        const std::uint64_t held = counts + 3 * embedding + 5 * squares;
        const auto rest = [&](std::uint64_t budget, std::uint64_t taken) {
          return budget == 0 ? 0 : std::max<std::uint64_t>(budget - std::min(budget, taken), 1);
        };
        count.strategy = CountStrategy::automatic;
        count.repeatable = true;
        count.expected_tokens =
            std::min(config.null_tokens, std::max<std::uint64_t>(corpus.expected_tokens, 1));
        count.memory_bytes = rest(config.memory_bytes, kProgram + held);
        count.device_bytes = rest(plan.device_budget, held);
        plan.null = count;
        const CountPlan null = plan_count(count, *backend.count);
        stage("null", held + null.total_bytes(), 0,
              fmt::format("{} shuffled tokens, {}", count.expected_tokens, strategy_name(null.strategy)));
      }
    }
  }
  const std::uint64_t embedding_out = static_cast<std::uint64_t>(shape.vocab) * d;
  const bool emits_embedding = offset || (spectral && config.compose.emit_embedding);
  // offset: an untied head as well, or a table of positions; MLP outputs where they are bounded or silent
  const std::uint64_t mlps = offset || config.compose.recipe == "zero-proj"
                                 ? layers * d * static_cast<std::uint64_t>(shape.mlp_width)
                                 : 0;
  const std::uint64_t emitted = weights + mlps + (emits_embedding ? embedding_out : 0) +
                                (offset ? embedding_out + static_cast<std::uint64_t>(shape.context) * d : 0);
  stage("compose and emit",
        (weights + mlps) * sizeof(float) + weights / layers * 3 * kReal + 2 * embedding_out * kReal,
        emitted * out_bytes + (config.save_heads ? emitted * sizeof(float) : 0), "");
  return plan;
}

void check_plan(const RunPlan& plan, const RunConfig& config) {
  if (config.memory_bytes > 0 && plan.peak_memory() > config.memory_bytes)
    throw ResourceError(
        fmt::format("this run needs about {} of memory, {} are allowed: raise --memory, or lower --d-model, "
                    "--vocab-size or --lags (`aloft plan` shows which stage needs what)",
                    gib(plan.peak_memory()), gib(config.memory_bytes)));
  if (plan.device_budget > 0 && plan.peak_device_memory() > plan.device_budget)
    throw ResourceError(fmt::format(
        "this run needs about {} of device memory, {} are allowed: raise --device-memory, or lower "
        "--d-model, --vocab-size or --lags (`aloft plan` shows which stage needs what)",
        gib(plan.peak_device_memory()), gib(plan.device_budget)));
  const std::uint64_t free = free_disk(config.output);
  if (plan.disk() > free)
    throw ResourceError(fmt::format("this run needs about {} of disk at {}, {} are free", gib(plan.disk()),
                                    config.output, gib(free)));
}

std::uint64_t device_budget(const Device& device, std::uint64_t asked) {
  const DeviceMemory memory = device.memory();
  if (memory.total == 0) return 0;
  if (asked > 0) return asked;
  const std::uint64_t reserve = device_reserve(memory.total);
  return std::max<std::uint64_t>(memory.free - std::min(memory.free, reserve), 1);
}

std::uint64_t available_memory() {
  std::ifstream in("/proc/meminfo");
  std::string key, unit;
  std::uint64_t kib = 0;
  while (in >> key >> kib) {
    std::getline(in, unit);
    if (key == "MemAvailable:") return kib * 1024;
  }
  return 0;
}

std::uint64_t free_disk(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code failed;
  fs::path at = fs::absolute(path, failed);
  while (!at.empty() && !fs::exists(at, failed) && at.has_parent_path() && at != at.parent_path())
    at = at.parent_path();
  const auto space = fs::space(at, failed);
  return failed ? ~std::uint64_t{0} : space.available;
}

}  // namespace aloft
