#include "pipeline/run/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "host/byte_size.hpp"
#include "host/error.hpp"

namespace aloft {
namespace {}  // namespace

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
  p.expected_entries = corpus.expected.entries;
  p.expected_growth = corpus.expected.growth;
  p.repeatable = corpus.repeatable;
  p.program_bytes = program_memory(config.threads);
  return p;
}

CorpusFacts look_at(Corpus& corpus, std::int32_t lags) {
  CorpusFacts out{corpus.vocab_size(), corpus.expected_tokens(), corpus.repeatable()};
  if (out.repeatable) out.expected = expected_entries(*corpus.open(), out.vocab, lags, out.expected_tokens);
  return out;
}

namespace {

/// Without counts that are loaded already: they are planned below.
std::uint64_t program_without_counts(const RunConfig& config, const CorpusFacts& corpus, bool apart) {
  const std::uint64_t all = program_memory(config.threads);
  const bool counted = !corpus.entries.empty() && !apart;
  const std::uint64_t known = counted ? CountsShape{corpus.vocab, corpus.entries}.bytes() : 0;
  return all - std::min(all, known);
}

/// The row of kCount, and what the counts will be.
CountsShape plan_counting(const CorpusFacts& corpus, const CountParams& params, const CountOps& ops,
                          CountPlan& plan, Planner& rows) {
  Peak work;
  if (!corpus.entries.empty()) {
    CountsShape counts{corpus.vocab, corpus.entries};
    plan.result_bytes = counts.bytes();
    work.reach(on_device(counts.bytes()) + on_host(csr_bytes(counts.vocab, counts.most_entries())));
    rows.row(kCount, {}, work, counts.bytes(), "counted already");
    return counts;
  }
  plan = plan_count(params, ops);
  work.reach(on_device(plan.total_bytes()) + on_host(plan.staging_bytes));
  work.reach(on_device(plan.result_bytes) + on_host(plan.result_bytes));  // saved
  rows.row(kCount, {}, work, plan.result_bytes, strategy_name(plan.strategy));
  if (!params.expected_entries.empty()) return {corpus.vocab, params.expected_entries};
  return shape_of_bytes(corpus.vocab, params.max_lag, plan.result_bytes);
}

}  // namespace

RunPlan plan_run(const RunConfig& config, const Architecture& arch, const ModelShape& shape,
                 const CorpusFacts& corpus, const Backend& backend) {
  const Recipe& recipe = find_recipe(config.compose.recipe);
  RunPlan plan;
  plan.device_budget = device_budget(*backend.device, config.device_bytes);
  const bool apart = plan.device_budget > 0;
  CountParams counting = count_params(config, corpus, plan.device_budget);
  counting.program_bytes = program_without_counts(config, corpus, apart);
  plan.counting = counting;
  Planner rows(counting.program_bytes, apart);
  CountsShape counts;
  if (recipe.reads_corpus()) counts = plan_counting(corpus, counting, *backend.count, plan.count, rows);
  recipe.plan({.design = {recipe, config, arch, shape, config.lags, corpus.vocab},
               .rows = rows,
               .backend = backend,
               .counts = counts,
               .counting = counting,
               .null = plan.null,
               .dtype = config.dtype,
               .save_heads = config.save_heads});
  plan.stages = rows.rows();
  return plan;
}

std::uint64_t device_limit(const RunPlan& plan, const RunConfig& config) {
  return plan.device_budget > 0 ? plan.device_budget
                                : left_of(config.memory_bytes, plan.counting.program_bytes);
}

void check_plan(const RunPlan& plan, const RunConfig& config) {
  if (config.memory_bytes > 0 && plan.peak_memory() > config.memory_bytes)
    throw ResourceError(fmt::format(
        "this run needs about {} of memory, {} are allowed{}: raise --memory, or lower --d-model, "
        "--vocab-size or --lags (`aloft plan` shows which stage needs what)",
        readable_bytes(plan.peak_memory()), readable_bytes(config.memory_bytes),
        config.memory_limit.empty() ? "" : " (" + config.memory_limit + ")"));
  if (plan.device_budget > 0 && plan.peak_device_memory() > plan.device_budget)
    throw ResourceError(fmt::format(
        "this run needs about {} of device memory, {} are allowed: raise --device-memory, or lower "
        "--d-model, --vocab-size or --lags (`aloft plan` shows which stage needs what)",
        readable_bytes(plan.peak_device_memory()), readable_bytes(plan.device_budget)));
  const std::uint64_t free = free_disk(config.output);
  if (plan.disk() > free)
    throw ResourceError(fmt::format("this run needs about {} of disk at {}, {} are free",
                                    readable_bytes(plan.disk()), config.output, readable_bytes(free)));
}

}  // namespace aloft
