#include <fmt/format.h>

#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "host/error.hpp"
#include "host/json_build.hpp"
#include "pipeline/run/folder.hpp"
#include "pipeline/run/obtain_counts.hpp"
#include "pipeline/run/plan.hpp"
#include "tools/aloft/commands.hpp"
#include "tools/aloft/flag_kinds.hpp"
#include "tools/aloft/options.hpp"
#include "tools/aloft/output.hpp"
#include "tools/aloft/terminal_progress.hpp"

namespace aloft {
namespace {

std::string mib(std::uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

class PlanCommand final : public Command {
 public:
  explicit PlanCommand(CLI::App& program)
      : app_(*program.add_subcommand("plan", "Memory, disk and strategy of an init, before any work")) {
    app_.add_option("--config", config_path_, "Flags from a YAML file; the command line wins")
        ->type_name("FILE");
    app_.add_option("--output", config_.output, "Folder the run would write to")->type_name("FOLDER");
    app_.add_option("--tokens", tokens_,
                    "Plan for this many tokens instead of reading --corpus (of --vocab-size ids)")
        ->check(whole_number())
        ->type_name("N");
    add_output_options(app_, output_);
    add_corpus_options(app_, config_.corpus);
    add_counts_file_option(app_, config_);
    add_count_options(app_, count_);
    add_model_options(app_, model_);
    add_design_options(app_, config_, design_);
    add_offset_options(app_, config_.offset);
    describe_recipes(app_);
  }
  CLI::App& app() override { return app_; }

  void run() override {
    if (config_.output.empty()) config_.output = ".";
    settle(app_, config_, count_, design_);
    const Model model = load_model(model_);
    for (const std::string& note : model.notes) TerminalProgress(output_.quiet).note(note);
    Backend backend = make_backend(config_.backend, config_.threads, config_.gpu);
    for (const std::string& line :
         {backend.note, config_.memory_warning, device_memory_note(*backend.device, config_.device_bytes)})
      if (!line.empty()) TerminalProgress(output_.quiet).note(line);
    config_.corpus.model_vocab = model.vocab(model_.sizes);
    std::optional<Counts> counts;  // a run has them in memory, too, when it makes its plan
    const CorpusFacts corpus = corpus_facts(backend, counts);
    const Architecture arch = specialize(model.architecture, model.config);
    const ModelShape shape = resolve_shape(model_.sizes, model.config, arch, corpus.vocab);
    const auto plan = [&](const RunConfig& config) { return plan_run(config, arch, shape, corpus, backend); };
    try {
      print(plan(config_), corpus);
    } catch (const ResourceError&) {  // what it would take is the more worth knowing
      RunConfig unlimited = config_;
      unlimited.memory_bytes = 0;
      if (!backend.device->shares_host_memory())
        unlimited.device_bytes = std::numeric_limits<std::uint64_t>::max();
      print(plan(unlimited), corpus);
    }
    (void)plan_within_limits(config_, arch, shape, corpus, backend);
  }

 private:
  /// `counts`: what --counts names is loaded into it.
  CorpusFacts corpus_facts(Backend& backend, std::optional<Counts>& counts) {
    const Recipe& recipe = find_recipe(config_.compose.recipe);
    TerminalProgress progress(output_.quiet);
    if (!recipe.reads_corpus()) {
      CorpusFacts none = no_corpus();
      none.expected_tokens = tokens_;
      return none;
    }
    if (!config_.counts_file.empty()) {
      if (tokens_ != 0) throw UsageError("--counts and --tokens: give one of them");
      Context ctx(backend, progress);
      counts = load_counts(ctx, config_, recipe);
      return facts_of(*counts);
    }
    CorpusSpec& spec = config_.corpus;
    if (tokens_ != 0) {
      const std::int64_t vocab = spec.vocab_size != 0 ? spec.vocab_size : spec.model_vocab;
      if (vocab == 0) throw UsageError("--tokens needs --vocab-size");
      return {vocab, tokens_, true};
    }
    if (spec.paths.empty())
      throw UsageError("--corpus (or --counts, or --tokens with --vocab-size) is needed");
    spec.outputs = RunFolder::files_in(config_.output);
    const auto opened = open_corpus(spec, progress);
    CorpusFacts facts = look_at(*opened, config_.lags);
    // A pipe is kept in a file when stripes are asked for.
    facts.repeatable |= config_.strategy == CountStrategy::striped;
    return facts;
  }
  static std::string device_column(const RunPlan& plan, const std::string& text) {
    return plan.device_budget > 0 ? fmt::format("{:>14}", text) : "";
  }

  void print_count(const CountPlan& c) const {
    std::string how = fmt::format("{}, {}\n          chunks of {} tokens", strategy_name(c.strategy),
                                  c.reason, c.chunk_tokens);
    if (!c.dense_kernel.empty()) how += "; " + c.dense_kernel;
    how += fmt::format("\n          table {}, workspace {}, result {}{}", mib(c.table_bytes),
                       mib(c.workspace_bytes), mib(c.result_bytes),
                       c.on_device ? ", staging on the host " + mib(c.staging_bytes) : "");
    std::fputs(("\ncounting: " + how + "\n").c_str(), stdout);
  }

  void print(const RunPlan& plan, const CorpusFacts& corpus) {
    const std::uint64_t free = free_disk(config_.output);
    if (output_.json) {
      nlohmann::ordered_json out{{"tokens", corpus.expected_tokens},
                                 {"vocab", corpus.vocab},
                                 {"memory_bytes", plan.peak_memory()},
                                 {"memory_allowed_bytes", config_.memory_bytes},
                                 {"memory_limit", config_.memory_limit},
                                 {"disk_bytes", plan.disk()},
                                 {"disk_free_bytes", free}};
      if (plan.device_budget > 0) {
        out["device_memory_bytes"] = plan.peak_device_memory();
        out["device_memory_allowed_bytes"] = plan.device_budget;
      }
      if (const CountPlan& c = plan.count; !c.reason.empty())
        out["count"] = {{"strategy", strategy_name(c.strategy)},
                        {"reason", c.reason},
                        {"kernel", c.dense_kernel},
                        {"stripes", c.stripes},
                        {"stripe_rows", c.stripe_rows},
                        {"chunk_tokens", c.chunk_tokens},
                        {"table_bytes", c.table_bytes},
                        {"workspace_bytes", c.workspace_bytes},
                        {"result_bytes", c.result_bytes},
                        {"staging_bytes", c.staging_bytes},
                        {"on_device", c.on_device}};
      for (const StagePlan& s : plan.stages)
        array_in(out, "stages")
            .push_back({{"name", s.stage},
                        {"memory_bytes", s.memory_bytes},
                        {"device_memory_bytes", s.device_bytes},
                        {"disk_bytes", s.disk_bytes},
                        {"note", s.note}});
      print_json(out);
      return;
    }
    std::fputs(
        fmt::format("{:<18}{:>14}{}{:>14}\n", "stage", "memory", device_column(plan, "on the device"), "disk")
            .c_str(),
        stdout);
    for (const StagePlan& s : plan.stages)
      std::fputs(fmt::format("{:<18}{:>14}{}{:>14}  {}\n", s.stage, mib(s.memory_bytes),
                             device_column(plan, mib(s.device_bytes)), mib(s.disk_bytes), s.note)
                     .c_str(),
                 stdout);
    if (!plan.count.reason.empty()) print_count(plan.count);
    std::fputs(
        fmt::format("\npeak memory {} of {} allowed ({}); disk {} of {} free\n", mib(plan.peak_memory()),
                    mib(config_.memory_bytes), config_.memory_limit, mib(plan.disk()), mib(free))
            .c_str(),
        stdout);
    if (plan.device_budget > 0)
      std::fputs(fmt::format("peak device memory {} of {} allowed\n", mib(plan.peak_device_memory()),
                             mib(plan.device_budget))
                     .c_str(),
                 stdout);
  }

  CLI::App& app_;
  std::string config_path_;
  std::uint64_t tokens_ = 0;
  OutputOptions output_;
  CountOptions count_;
  ModelOptions model_;
  DesignOptions design_;
  RunConfig config_;
};

}  // namespace

std::unique_ptr<Command> make_plan_command(CLI::App& program) {
  return std::make_unique<PlanCommand>(program);
}

}  // namespace aloft
