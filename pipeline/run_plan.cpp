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

std::uint64_t RunPlan::disk() const {
  return std::accumulate(stages.begin(), stages.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const StagePlan& s) { return sum + s.disk_bytes; });
}

RunPlan plan_run(const RunConfig& config, const ModelShape& shape, std::int64_t corpus_vocab,
                 std::uint64_t expected_tokens) {
  RunPlan plan;
  const auto v = static_cast<std::uint64_t>(corpus_vocab), d = static_cast<std::uint64_t>(shape.d_model);
  const auto layers = static_cast<std::uint64_t>(shape.layers),
             lags = static_cast<std::uint64_t>(config.lags);
  const auto heads_rows = static_cast<std::uint64_t>(2 * (shape.heads + shape.kv_heads) * shape.head_dim);
  const std::uint64_t weights = layers * heads_rows * d;
  const std::uint64_t out_bytes = dtype_bytes(config.dtype);

  const bool offset = is_offset_recipe(config.compose.recipe);
  const bool spectral = !offset && recipe_reads_corpus(config.compose.recipe);
  CountParams count_params;
  if (offset || spectral) {
    CountParams& count = count_params;
    count.vocab = corpus_vocab;
    count.max_lag = config.lags;
    count.strategy = config.strategy;
    count.memory_bytes = config.memory_bytes;
    count.expected_tokens = expected_tokens;
    plan.count = plan_count(count);
    const std::uint64_t counts = plan.count.result_bytes;
    plan.stages.push_back({"count", kProgram + plan.count.total_bytes(), counts,
                           strategy_name(plan.count.strategy) + ": " + plan.count.reason});
    if (offset) {
      // Half the width each for S and U; the class means and discriminants of all lags; the Krylov basis.
      const std::uint64_t designed = std::min(lags, layers), means = v * designed * d / 2 * kReal;
      plan.stages.push_back(
          {"factors", kProgram + 3 * counts + 3 * means + 5 * v * d * kReal, v * d * kReal, ""});
    }
  }
  if (spectral) {
    const std::uint64_t counts = plan.count.result_bytes, lag = counts / lags;
    const std::uint64_t embedding = v * d * kReal, squares = lags * d * d * kReal;
    plan.stages.push_back({"embed", kProgram + counts + embedding + embed_bytes(config, v, d, lag), v * d * 4,
                           config.embedding});
    plan.stages.push_back(
        {"project", kProgram + counts + 3 * embedding + lag + 5 * squares, 4 * squares, ""});
    plan.stages.push_back(
        {"decompose", kProgram + counts + embedding + 8 * squares, squares + lags * d * kReal, ""});
    plan.stages.push_back(
        {"expand", kProgram + counts + embedding + 10 * squares, layers * d * d * kReal, ""});
    if (config.null_tokens > 0) {
      const std::uint64_t null_tokens =
          std::min(config.null_tokens, std::max<std::uint64_t>(expected_tokens, 1));
      CountParams count = count_params;
      count.expected_tokens = null_tokens;
      plan.stages.push_back(
          {"null", kProgram + counts + plan_count(count).total_bytes() + 3 * embedding + 5 * squares, 0,
           fmt::format("{} shuffled tokens", null_tokens)});
    }
  }
  const std::uint64_t embedding_out = static_cast<std::uint64_t>(shape.vocab) * d;
  const bool emits_embedding = offset || (spectral && config.compose.emit_embedding);
  // offset: an untied head as well, and a table of positions at most
  const std::uint64_t emitted = weights + (emits_embedding ? embedding_out : 0) +
                                (offset ? embedding_out + static_cast<std::uint64_t>(shape.context) * d : 0);
  plan.stages.push_back(
      {"compose and emit",
       kProgram + weights * sizeof(float) + weights / layers * 3 * kReal + 2 * embedding_out * kReal,
       emitted * out_bytes + (config.save_heads ? emitted * sizeof(float) : 0), ""});
  return plan;
}

void check_plan(const RunPlan& plan, const RunConfig& config) {
  if (config.memory_bytes > 0 && plan.peak_memory() > config.memory_bytes)
    throw ResourceError(
        fmt::format("this run needs about {} of memory, {} are allowed: raise --memory, or lower --d-model, "
                    "--vocab-size or --lags (`aloft plan` shows which stage needs what)",
                    gib(plan.peak_memory()), gib(config.memory_bytes)));
  const std::uint64_t free = free_disk(config.output);
  if (plan.disk() > free)
    throw ResourceError(fmt::format("this run needs about {} of disk at {}, {} are free", gib(plan.disk()),
                                    config.output, gib(free)));
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
