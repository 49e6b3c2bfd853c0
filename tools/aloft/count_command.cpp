#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "host/byte_size.hpp"
#include "host/error.hpp"
#include "host/hash.hpp"
#include "host/printable.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/run/plan.hpp"
#include "tools/aloft/commands.hpp"
#include "tools/aloft/memory_size.hpp"
#include "tools/aloft/options.hpp"
#include "tools/aloft/output.hpp"
#include "tools/aloft/terminal_progress.hpp"

namespace aloft {
namespace {

class CountCommand final : public Command {
 public:
  explicit CountCommand(CLI::App& program)
      : app_(*program.add_subcommand("count", "The first stage alone: J_1..J_lags and the unigram")) {
    app_.add_option("--config", config_path_, "Flags from a YAML file; the command line wins")
        ->type_name("FILE");
    app_.add_option("--output", output_path_, "File to write, e.g. counts.safetensors")->type_name("FILE");
    app_.add_option("--vocab-output", vocab_path_, "words: also write the vocabulary here")
        ->type_name("FILE");
    app_.add_flag("--force", force_, "Replace existing files");
    add_output_options(app_, output_);
    add_corpus_options(app_, corpus_);
    add_count_options(app_, count_);
  }
  CLI::App& app() override { return app_; }

  void run() override {
    if (output_path_.empty()) throw UsageError("--output is needed: the counts file to write");
    if (corpus_.paths.empty()) throw UsageError("--corpus is needed");
    if (same_file(output_path_, vocab_path_))
      throw UsageError(output_path_ + ": --output and --vocab-output are the same file; give them two names");
    for (const std::string& path : {output_path_, vocab_path_})
      if (!path.empty()) expect_writable(path);
    TerminalProgress progress(output_.quiet);
    Backend backend = make_backend(count_.backend, count_.threads, count_.gpu);
    if (!backend.note.empty()) progress.note(backend.note);
    Context ctx(backend, progress);
    CountParams p;
    p.memory_bytes = memory_budget(count_.memory);
    p.device_bytes = device_budget(*backend.device, device_memory_asked(count_.device_memory));
    backend.device->limit_memory(p.device_bytes);
    corpus_.several_passes = count_.strategy == CountStrategy::striped;
    const auto corpus = open_corpus(corpus_, progress);
    p.vocab = corpus->vocab_size();
    p.max_lag = count_.lags;
    p.strategy = count_.strategy;
    p.expected_tokens = corpus->expected_tokens();
    p.repeatable = corpus->repeatable();
    const CountPlan plan = plan_count(p, ctx.count());
    progress.note("counting: " + strategy_name(plan.strategy) + ", " + plan.reason);
    if (const std::uint64_t free = free_disk(output_path_); plan.result_bytes > free)
      throw ResourceError(fmt::format("{}: the counts need about {} of disk, {} are free", output_path_,
                                      readable_bytes(plan.result_bytes), readable_bytes(free)));
    Counts counts;
    {
      const auto timed = ctx.scope("count");
      counts = count_transitions(ctx, p, [&] { return corpus->open(); });
    }
    if (const std::string note = corpus->reading_note(); !note.empty()) progress.note("note: " + note);
    require_pairs(counts, corpus_.paths.front());
    if (const auto vocabulary = corpus->vocabulary_json(); vocabulary && !vocab_path_.empty())
      write_file(vocab_path_, *vocabulary);
    save(output_path_, counts, "");
    print(counts, corpus->format_name(), ctx.times().back().seconds, strategy_name(plan.strategy));
  }

 private:
  static bool same_file(const std::string& a, const std::string& b) {
    std::error_code absent;
    return a == b || std::filesystem::equivalent(a, b, absent);
  }
  /// Before hours of counting. Throws UsageError or InputError.
  void expect_writable(const std::string& path) const {
    namespace fs = std::filesystem;
    if (fs::is_directory(path))
      throw UsageError(path + ": is a folder; the counts are one file, give its name");
    if (fs::exists(path) && !force_) throw UsageError(path + ": already exists; use --force to replace it");
    const fs::path folder = fs::path(path).parent_path();
    if (!folder.empty() && !fs::is_directory(folder))
      throw InputError(path + ": there is no folder " + folder.string() + "; make it first");
    for (const std::string& input : corpus_.paths)
      if (same_file(path, input)) throw UsageError(path + ": is the corpus; give the output another name");
    for (const std::string& input : {corpus_.vocabulary, corpus_.tokenizer})
      if (!input.empty() && same_file(path, input))
        throw UsageError(path + ": is read by this run; give the output another name");
  }
  void print(const Counts& counts, const std::string& format, double seconds,
             const std::string& strategy) const {
    if (output_.json) {
      nlohmann::ordered_json out{{"output", output_path_},  {"format", format},
                                 {"strategy", strategy},    {"vocab", counts.vocab},
                                 {"tokens", counts.tokens}, {"corpus_hash", counts.corpus_hash},
                                 {"seconds", seconds}};
      for (std::size_t n = 0; n < counts.lags.size(); ++n)
        out["lags"].push_back(
            {{"lag", n + 1}, {"pairs", counts.pairs[n]}, {"distinct", counts.lags[n].nnz()}});
      print_json(out);
      return;
    }
    std::fputs(fmt::format("{} tokens, {} ids ({})\n\nlag        pairs     distinct\n", counts.tokens,
                           counts.vocab, format)
                   .c_str(),
               stdout);
    for (std::size_t n = 0; n < counts.lags.size(); ++n)
      std::fputs(fmt::format("{:>3} {:>12} {:>12}\n", n + 1, counts.pairs[n], counts.lags[n].nnz()).c_str(),
                 stdout);
    std::fputs(fmt::format("\nwrote {}\n", printable(output_path_)).c_str(), stdout);
  }

  CLI::App& app_;
  std::string config_path_, output_path_, vocab_path_;
  bool force_ = false;
  OutputOptions output_;
  CorpusSpec corpus_;
  CountOptions count_;
};

}  // namespace

std::unique_ptr<Command> make_count_command(CLI::App& program) {
  return std::make_unique<CountCommand>(program);
}

}  // namespace aloft
