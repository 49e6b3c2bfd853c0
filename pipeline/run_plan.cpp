#include "pipeline/run_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "host/error.hpp"
#include "pipeline/device_math.hpp"

namespace aloft {
namespace {

constexpr std::uint64_t kReal = sizeof(double);
constexpr std::uint64_t kEntry = sizeof(std::uint32_t) + sizeof(std::uint64_t);  // of a CSR
constexpr std::uint64_t kAtWork = std::uint64_t{32} << 20;  // thread stacks, the libraries' own buffers

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

namespace {

// Collects the stages of one run. What earlier stages left lies in the device's memory where it has its own.
class StagePlanner {
 public:
  StagePlanner(const RunConfig& config, const Architecture& arch, const ModelShape& shape,
               const CorpusFacts& corpus, const Backend& backend)
      : config_(config),
        arch_(arch),
        shape_(shape),
        corpus_(corpus),
        backend_(backend),
        ops_(*backend.linear),
        d_(shape.d_model),
        lags_(config.lags),
        offset_(is_offset_recipe(config.compose.recipe)),
        spectral_(!offset_ && recipe_reads_corpus(config.compose.recipe)) {
    plan_.device_budget = device_budget(*backend.device, config.device_bytes);
    const std::uint64_t now = resident_memory();
    const bool counted = !corpus.entries.empty() && plan_.device_budget == 0;  // and planned below
    const std::uint64_t known = counted ? CountsShape{corpus.vocab, corpus.entries}.bytes() : 0;
    program_ = now - std::min(now, known) + kAtWork;
  }

  RunPlan run() {
    if (offset_ || spectral_) count();
    if (offset_) factors();
    if (spectral_) spectra();
    compose();
    if (spectral_) report();
    return std::move(plan_);
  }

 private:
  void stage(const std::string& name, Footprint held, const Peak& work, std::uint64_t disk,
             const std::string& note) {
    const bool apart = plan_.device_budget > 0;
    plan_.stages.push_back(
        {name, program_ + (apart ? held.host + work.host() : held.host + held.device + work.together()),
         apart ? held.device + work.device() : 0, disk, note});
  }
  [[nodiscard]] Footprint squares(std::int64_t n) const { return on_device(matrix_bytes(d_, d_, n)); }
  [[nodiscard]] std::int64_t layers() const { return shape_.layers; }

  /// Of counts that take so many bytes, the same at each lag.
  [[nodiscard]] CountsShape shape_of_result(std::uint64_t bytes) const {
    const std::uint64_t lag = bytes / static_cast<std::uint64_t>(lags_) - csr_bytes(corpus_.vocab, 0);
    return {corpus_.vocab, std::vector<std::int64_t>(static_cast<std::size_t>(lags_),
                                                     static_cast<std::int64_t>(lag / kEntry))};
  }

  void count() {
    Peak work;
    if (!corpus_.entries.empty()) {
      counts_ = {corpus_.vocab, corpus_.entries};
      plan_.count.result_bytes = counts_.bytes();
      work.reach(on_device(counts_.bytes()) + on_host(csr_bytes(counts_.vocab, counts_.most_entries())));
      return stage("count", {}, work, counts_.bytes(), "counted already");
    }
    plan_.count = plan_count(count_params(config_, corpus_, plan_.device_budget), *backend_.count);
    const std::uint64_t result = plan_.count.result_bytes;
    counts_ = shape_of_result(result);
    work.reach(on_device(plan_.count.total_bytes()) + on_host(plan_.count.staging_bytes));
    work.reach(on_device(result) + on_host(result));  // saved
    stage("count", {}, work, result, strategy_name(plan_.count.strategy));
  }

  // ---- offset

  void factors() {
    const OffsetLayout at =
        layout_of(config_.offset, config_.compose.recipe, arch_, shape_, config_.lags, corpus_.vocab);
    FactorParams p = config_.offset.factors;
    p.lags = at.lags;
    p.d_s = at.d_s;
    p.d_o = at.d_o;
    const std::uint64_t bytes = matrix_bytes(corpus_.vocab, p.d_s + p.d_o + 2);
    held_ = on_host(bytes);
    if (config_.compose.recipe == "induction")  // the map of what is found
      composing_.reach(on_device(matrix_bytes(corpus_.vocab, 2 * p.d_s + p.d_o)));
    if (config_.compose.recipe == "unigram") return;
    Footprint counts = on_device(counts_.bytes());
    Peak work = fit_lag_factors_memory(ops_, counts_, p);
    if (config_.offset.control != Control::none) {
      CountParams shuffled;
      shuffled.vocab = corpus_.vocab;
      shuffled.max_lag = config_.lags;
      shuffled.expected_tokens = corpus_.expected_tokens;
      const CountPlan control = plan_count(shuffled, *backend_.count);
      Peak counting;
      counting.reach(on_device(control.total_bytes()) + on_host(control.staging_bytes));
      counting.reach(on_device(control.result_bytes),
                     fit_lag_factors_memory(ops_, shape_of_result(control.result_bytes), p));
      work = counting;
    }
    work.reach(held_ + held_);  // saved
    stage("factors", counts, work, bytes + matrix_bytes(p.d_s, p.d_o, p.lags), "");
  }

  // ---- spread and asymmetry

  void spectra() {
    const std::int64_t v = corpus_.vocab;
    const Footprint counts = on_device(counts_.bytes()), embedding = on_device(matrix_bytes(v, d_)),
                    projections = squares(4 * lags_), spectra = squares(lags_), planes = squares(layers());
    const ExpandParams p = expand_params(config_, shape_);
    const auto saved = [](Footprint x) { return x + on_host(x.device); };

    Peak embed = config_.embedding == "mobius"     ? embed_mobius_memory(v, d_)
                 : config_.embedding == "ppmi-svd" ? embed_ppmi_svd_memory(ops_, counts_, d_)
                                                   : embed_from_file_memory(v, d_);
    embed.reach(saved(embedding) + on_host(embedding.device / 2));
    stage("embed", counts, embed, embedding.device / 2, config_.embedding);

    Peak project = project_memory(ops_, counts_, d_);
    project.reach(saved(projections));
    stage("project", counts + embedding, project, projections.device, "");

    Peak decomposed = decompose_memory(ops_, d_, lags_);
    decomposed.reach(saved(spectra));
    stage("decompose", counts + embedding + projections, decomposed,
          spectra.device + matrix_bytes(d_, 2 * lags_), "");

    Peak expanded = expand_memory(ops_, d_, p);
    expanded.reach(saved(planes));
    stage("expand", counts + embedding + projections + spectra, expanded, planes.device, "");
    held_ = counts + embedding + spectra + planes;
  }

  void report() {
    const Footprint held = held_ + weights();
    Peak work = measure_asymmetry_memory(ops_, counts_);
    work.reach(squares(6) + ops_.skew_spectrum_scratch(d_, 1));  // of Gaussian matrices
    std::string note;
    if (config_.null_tokens > 0) {
      CountParams& null = plan_.null = count_params(config_, corpus_, plan_.device_budget);
      const auto rest = [](std::uint64_t budget, std::uint64_t taken) {
        return budget == 0 ? 0 : std::max<std::uint64_t>(budget - std::min(budget, taken), 1);
      };
      null.strategy = CountStrategy::automatic;
      null.repeatable = true;
      null.expected_tokens =
          std::min(config_.null_tokens, std::max<std::uint64_t>(corpus_.expected_tokens, 1));
      null.memory_bytes = rest(config_.memory_bytes, program_ + held.host + held.device);
      null.device_bytes = rest(plan_.device_budget, held.device);
      const CountPlan counting = plan_count(null, *backend_.count);
      const Footprint counts = on_device(counting.result_bytes), projections = squares(lags_);
      const CountsShape shape = shape_of_result(counting.result_bytes);
      work.reach(on_device(counting.total_bytes()) + on_host(counting.staging_bytes));
      work.reach(counts, project_transitions_memory(ops_, shape, d_));
      work.reach(counts + projections, decompose_memory(ops_, d_, lags_));
      work.reach(counts + squares(lags_), measure_asymmetry_memory(ops_, shape));
      note = fmt::format("null of {} shuffled tokens, {}", null.expected_tokens,
                         strategy_name(counting.strategy));
    }
    stage("report", held, work, 0, note);
  }

  // ---- the file

  [[nodiscard]] std::uint64_t heads() const {  // numbers of all layers
    return static_cast<std::uint64_t>(layers() * 2 * (shape_.heads + shape_.kv_heads) * shape_.head_dim * d_);
  }
  // offset and zero-proj: MLP outputs where they are bounded or silent
  [[nodiscard]] std::uint64_t mlps() const {
    return offset_ || config_.compose.recipe == "zero-proj"
               ? static_cast<std::uint64_t>(layers() * d_ * shape_.mlp_width)
               : 0;
  }
  [[nodiscard]] std::uint64_t table() const { return static_cast<std::uint64_t>(shape_.vocab * d_); }
  [[nodiscard]] bool carries_table() const {
    return offset_ || (spectral_ && config_.compose.emit_embedding);
  }
  /// As they wait to be written.
  [[nodiscard]] Footprint weights() const {
    const std::uint64_t tables = !carries_table() ? 0 : offset_ && !arch_.tied_head ? 2 * table() : table();
    return on_host((heads() + mlps() + tables) * sizeof(float));
  }

  void compose() {
    const std::uint64_t layer = heads() / static_cast<std::uint64_t>(layers()),
                        matrix = std::max(layer, mlps() / static_cast<std::uint64_t>(layers()));
    const Footprint numbers = on_host((heads() + mlps()) * sizeof(float));
    Peak work = composing_;
    work.reach(numbers + on_device(2 * matrix * kReal) + on_host(2 * matrix * kReal));
    work.reach(weights() + on_host(2 * matrix * kReal));  // a tensor put together
    if (carries_table()) {
      const std::uint64_t rows = table() * kReal;
      const Footprint single = on_host(table() * sizeof(float));  // the embedding, while a head is made
      const bool drawn = spectral_ || config_.compose.recipe == "unigram";  // the usual table first
      if (drawn) work.reach(numbers + (offset_ ? single : Footprint{}) + on_device(rows) + on_host(rows));
      if (drawn && offset_) work.reach(numbers + on_host(2 * rows) + single);
      const std::int64_t stripe = spectral_ ? longest_stripe(corpus_.vocab) : 0;
      work.reach(weights() + on_host(rows + matrix_bytes(stripe, d_)));
    }
    // offset: an untied head as well, or a table of positions
    const std::uint64_t emitted = heads() + mlps() + (carries_table() ? table() : 0) +
                                  (offset_ ? table() + static_cast<std::uint64_t>(shape_.context * d_) : 0);
    stage("compose and emit", held_, work,
          emitted * dtype_bytes(config_.dtype) + (config_.save_heads ? emitted * sizeof(float) : 0), "");
  }

  const RunConfig& config_;
  const Architecture& arch_;
  const ModelShape& shape_;
  const CorpusFacts& corpus_;
  const Backend& backend_;
  const LinearOps& ops_;
  const std::int64_t d_, lags_;
  const bool offset_, spectral_;
  RunPlan plan_;
  std::uint64_t program_ = 0;  ///< what the program takes whatever it does
  CountsShape counts_;
  Footprint held_;  ///< from the stage before compose on
  Peak composing_;
};

}  // namespace

RunPlan plan_run(const RunConfig& config, const Architecture& arch, const ModelShape& shape,
                 const CorpusFacts& corpus, const Backend& backend) {
  return StagePlanner(config, arch, shape, corpus, backend).run();
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

}  // namespace aloft
