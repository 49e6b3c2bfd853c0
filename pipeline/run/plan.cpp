#include "pipeline/run/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <numeric>
#include <optional>

#include "host/byte_size.hpp"
#include "host/error.hpp"

namespace aloft {

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
  p.frequencies = corpus.expected.frequencies;
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
  const CountsShape counts = params.expected_entries.empty()
                                 ? shape_of_bytes(corpus.vocab, params.max_lag, plan.result_bytes)
                                 : CountsShape{corpus.vocab, params.expected_entries};
  work.reach(rows.kept(plan.result_bytes, csr_bytes(counts.vocab, counts.most_entries())));
  rows.row(kCount, {}, work, plan.result_bytes, strategy_name(plan.strategy));
  return counts;
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

namespace {

/// The least size that will do, to half a percent; 0: none does.
template <class WillDo>
std::uint64_t least_size(std::uint64_t too_little, const WillDo& will_do) {
  constexpr std::uint64_t kStep = std::uint64_t{1} << 20, kMost = std::uint64_t{1} << 50;
  std::uint64_t low = std::min(too_little, kMost), high = std::max(2 * low, kStep);
  for (; !will_do(high); low = high, high *= 2)
    if (high > kMost) return 0;
  while (high - low > std::max(high / 256, kStep)) {
    const std::uint64_t middle = low + (high - low) / 2;
    (will_do(middle) ? high : low) = middle;
  }
  return high;
}

/// A memory that is too small.
struct Shortage {
  std::string kind, flag, limit;
  std::uint64_t allowed = 0, need = 0;
};
std::string message_of(const std::vector<Shortage>& all) {
  std::vector<std::string> needs, raises;
  for (const Shortage& s : all) {
    needs.push_back(fmt::format("about {} of {}, {} are allowed{}", readable_bytes(s.need), s.kind,
                                readable_bytes(s.allowed), s.limit));
    raises.push_back(s.flag + " to " + size_argument(s.need));
  }
  return fmt::format(
      "this run needs {}: raise {}, or lower --d-model, --vocab-size or --lags (`aloft plan` shows which "
      "stage needs what)",
      fmt::join(needs, " and "), fmt::join(raises, " and "));
}

/// The plan within other limits, if there is one that keeps to them. memory, device: 0 or a size.
using PlanWithin = std::function<std::optional<RunPlan>(std::uint64_t memory, std::uint64_t device)>;

/// What of `config` is too little, and what would do: sizes that both do for the whole run.
std::vector<Shortage> shortages(const RunConfig& config, std::uint64_t device, const PlanWithin& plan) {
  std::vector<Shortage> out;
  std::uint64_t device_need = device;
  if (device > 0 && !plan(0, device)) {
    device_need = least_size(device, [&](std::uint64_t size) { return plan(0, size).has_value(); });
    out.push_back({"device memory", "--device-memory", "", device, device_need});
  }
  if (config.memory_bytes > 0 && !plan(config.memory_bytes, device_need)) {
    const std::uint64_t need = least_size(
        config.memory_bytes, [&](std::uint64_t size) { return plan(size, device_need).has_value(); });
    out.push_back({"memory", "--memory", config.memory_limit.empty() ? "" : " (" + config.memory_limit + ")",
                   config.memory_bytes, need == 0 ? 0 : need + kDifferenceOfStarts});
  }
  std::erase_if(out, [](const Shortage& s) { return s.need == 0; });
  return out;
}

}  // namespace

RunPlan plan_within_limits(const RunConfig& config, const Architecture& arch, const ModelShape& shape,
                           const CorpusFacts& corpus, const Backend& backend) {
  const PlanWithin plan_with = [&](std::uint64_t memory, std::uint64_t device) -> std::optional<RunPlan> {
    RunConfig other = config;
    other.memory_bytes = memory;
    other.device_bytes = device;
    try {
      RunPlan plan = plan_run(other, arch, shape, corpus, backend);
      const bool keeps = (memory == 0 || plan.peak_memory() <= memory) &&
                         (plan.device_budget == 0 || plan.peak_device_memory() <= plan.device_budget);
      return keeps ? std::optional(std::move(plan)) : std::nullopt;
    } catch (const ResourceError&) {
      return std::nullopt;
    }
  };
  const std::uint64_t device = device_budget(*backend.device, config.device_bytes);
  std::optional<RunPlan> plan = plan_with(config.memory_bytes, device);
  if (!plan) {
    if (const auto found = shortages(config, device, plan_with); !found.empty())
      throw ResourceError(message_of(found));
    const RunPlan planned = plan_run(config, arch, shape, corpus, backend);  // throws what no size mends
    throw ResourceError(fmt::format("this run needs {} of memory, more than any machine has",
                                    readable_bytes(planned.peak_memory())));
  }
  const std::uint64_t free = free_disk(config.output);
  if (plan->disk() > free)
    throw ResourceError(fmt::format("this run needs about {} of disk at {}, {} are free",
                                    readable_bytes(plan->disk()), config.output, readable_bytes(free)));
  return std::move(*plan);
}

}  // namespace aloft
