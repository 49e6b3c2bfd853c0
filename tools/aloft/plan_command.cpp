#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "host/error.hpp"
#include "pipeline/run_plan.hpp"
#include "tools/aloft/commands.hpp"
#include "tools/aloft/options.hpp"
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
                    "Plan for this many tokens instead of reading --corpus (needs --vocab-size)")
        ->check(whole_number())
        ->type_name("N");
    add_output_options(app_, output_);
    add_corpus_options(app_, config_.corpus);
    add_count_options(app_, count_);
    add_model_options(app_, model_);
    add_design_options(app_, config_, design_);
    add_offset_options(app_, config_.offset);
  }
  CLI::App& app() override { return app_; }

  void run() override {
    if (config_.output.empty()) config_.output = ".";
    settle(config_, count_, design_);
    const Model model = load_model(model_);
    std::int64_t vocab = config_.corpus.vocab_size;
    std::uint64_t tokens = tokens_;
    if (!is_offset_recipe(config_.compose.recipe) && !recipe_reads_corpus(config_.compose.recipe)) {
      vocab = 1;
    } else if (tokens_ == 0) {
      if (config_.corpus.paths.empty())
        throw UsageError("--corpus (or --tokens with --vocab-size) is needed");
      TerminalProgress progress(output_.quiet);
      const auto corpus = open_corpus(config_.corpus, progress);
      vocab = corpus->vocab_size();
      tokens = corpus->expected_tokens();
    } else if (vocab == 0) {
      throw UsageError("--tokens needs --vocab-size");
    }
    const ModelShape shape =
        resolve_shape(model_.sizes, model.config, specialize(model.architecture, model.config), vocab);
    try {
      const RunPlan plan = plan_run(config_, shape, vocab, tokens);
      print(plan, tokens, vocab);
      check_plan(plan, config_);
    } catch (const ResourceError&) {  // what it would take is the more worth knowing
      RunConfig unlimited = config_;
      unlimited.memory_bytes = 0;
      if (!printed_) print(plan_run(unlimited, shape, vocab, tokens), tokens, vocab);
      throw;
    }
  }

 private:
  void print(const RunPlan& plan, std::uint64_t tokens, std::int64_t vocab) {
    printed_ = true;
    const std::uint64_t free = free_disk(config_.output);
    if (output_.json) {
      nlohmann::ordered_json out{{"tokens", tokens},
                                 {"vocab", vocab},
                                 {"memory_bytes", plan.peak_memory()},
                                 {"memory_allowed_bytes", config_.memory_bytes},
                                 {"disk_bytes", plan.disk()},
                                 {"disk_free_bytes", free}};
      if (!plan.count.reason.empty())
        out["count"] = {
            {"strategy", strategy_name(plan.count.strategy)}, {"reason", plan.count.reason},
            {"chunk_tokens", plan.count.chunk_tokens},        {"table_bytes", plan.count.table_bytes},
            {"workspace_bytes", plan.count.workspace_bytes},  {"result_bytes", plan.count.result_bytes}};
      for (const StagePlan& s : plan.stages)
        out["stages"].push_back({{"name", s.stage},
                                 {"memory_bytes", s.memory_bytes},
                                 {"disk_bytes", s.disk_bytes},
                                 {"note", s.note}});
      std::fputs((out.dump(1) + "\n").c_str(), stdout);
      return;
    }
    std::fputs(fmt::format("{:<18}{:>14}{:>14}  {}\n", "stage", "memory", "disk", "").c_str(), stdout);
    for (const StagePlan& s : plan.stages)
      std::fputs(
          fmt::format("{:<18}{:>14}{:>14}  {}\n", s.stage, mib(s.memory_bytes), mib(s.disk_bytes), s.note)
              .c_str(),
          stdout);
    std::fputs(fmt::format("\npeak memory {} of {} allowed; disk {} of {} free\n", mib(plan.peak_memory()),
                           mib(config_.memory_bytes), mib(plan.disk()), mib(free))
                   .c_str(),
               stdout);
  }

  CLI::App& app_;
  std::string config_path_;
  std::uint64_t tokens_ = 0;
  bool printed_ = false;
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
