#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "host/atomic_file.hpp"
#include "host/byte_size.hpp"
#include "host/corpus_files.hpp"
#include "host/error.hpp"
#include "host/json_build.hpp"
#include "host/plural.hpp"
#include "host/printable.hpp"
#include "host/tidy_up.hpp"
#include "host/vocabulary.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/counts/coverage.hpp"
#include "pipeline/run/plan.hpp"
#include "tools/aloft/commands.hpp"
#include "tools/aloft/memory_size.hpp"
#include "tools/aloft/options.hpp"
#include "tools/aloft/output.hpp"
#include "tools/aloft/output_files.hpp"
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
    const bool keeps_vocabulary = check_outputs();
    TerminalProgress progress(output_.quiet);
    Backend backend = make_backend(count_.backend, count_.threads, count_.gpu);
    const MemoryBudget memory = memory_budget(count_.memory, count_.threads);
    const std::uint64_t device_memory = device_memory_asked(count_.device_memory);
    for (const std::string& line :
         {backend.note, memory.warning, device_memory_note(*backend.device, device_memory)})
      if (!line.empty()) progress.note(line);
    Context ctx(backend, progress);
    corpus_.several_passes = count_.strategy == CountStrategy::striped;
    const auto corpus = open_corpus(corpus_, progress);
    const auto vocabulary = vocabulary_to_write(*corpus, keeps_vocabulary, progress);
    RunConfig config;
    config.lags = count_.lags;
    config.strategy = count_.strategy;
    config.threads = count_.threads;
    config.memory_bytes = memory.bytes;
    config.memory_limit = memory.limit;
    const CountParams p =
        count_params(config, look_at(*corpus, count_.lags), device_budget(*backend.device, device_memory));
    backend.device->limit_memory(p.device_bytes > 0 ? p.device_bytes
                                                    : left_of(p.memory_bytes, p.program_bytes));
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
    counts.unknown_id = corpus->unknown_id();
    if (const auto covered = coverage(counts)) progress.note(coverage_note(*covered));
    write(counts, vocabulary);
    interrupts_are_over();
    print(counts, corpus->format_name(), ctx.times().back().seconds, plan,
          p.program_bytes + (plan.on_device ? plan.staging_bytes : plan.total_bytes()));
  }

 private:
  /// Before hours of counting. Throws UsageError or InputError. True: a vocabulary is there already, as a run
  /// leaves it that was killed before its counts were; it stays if it turns out to be the one of this corpus.
  [[nodiscard]] bool check_outputs() const {
    if (same_file(output_path_, vocab_path_))
      throw UsageError(output_path_ + ": --output and --vocab-output are the same file; give them two names");
    for (const std::string& path : {output_path_, vocab_path_})
      if (!path.empty()) remove_leftovers(path);
    std::vector<std::string> inputs;
    for (const auto& [path, of_folder] : corpus_files(corpus_).files)
      if (!of_folder || !is_artifact(path)) inputs.push_back(path);
    inputs.insert(inputs.end(), {corpus_.vocabulary, corpus_.tokenizer, config_path_});
    check_output({output_path_, force_}, inputs);
    if (vocab_path_.empty()) return false;
    const bool keep = !force_ && std::filesystem::is_regular_file(vocab_path_) && is_vocabulary(vocab_path_);
    check_output({vocab_path_, force_ || keep}, inputs);
    return keep;
  }
  /// What aloft has written, which a folder's corpus is not (corpus_selection.hpp).
  static bool is_artifact(const std::string& path) {
    const std::string extension = std::filesystem::path(path).extension().string();
    return extension == ".safetensors" || (extension == ".json" && is_vocabulary(path));
  }
  static bool is_vocabulary(const std::string& path) {
    try {
      (void)Vocabulary(read_file(path), path);
      return true;
    } catch (const InputError&) {
      return false;
    }
  }
  /// Nothing when there is none, or the one that is there is it.
  [[nodiscard]] std::optional<std::string> vocabulary_to_write(const Corpus& corpus, bool keep,
                                                               TerminalProgress& progress) const {
    if (vocab_path_.empty()) return std::nullopt;
    auto vocabulary = corpus.vocabulary_json();
    if (!vocabulary) {
      progress.note("note: " + vocab_path_ +
                    " is not written: only text read by the words tokenizer has a vocabulary");
      return std::nullopt;
    }
    if (!keep) return vocabulary;
    if (read_file(vocab_path_) != *vocabulary)
      throw UsageError(vocab_path_ +
                       ": already exists, and is not this corpus' vocabulary; use --force to replace it");
    return std::nullopt;
  }
  void write(const Counts& counts, const std::optional<std::string>& vocabulary) const {
    if (!force_ && std::filesystem::exists(output_path_))
      throw UsageError(output_path_ +
                       ": has appeared while this run was counting; use --force to replace it");
    if (!vocabulary) return save(output_path_, counts, "");
    AtomicFile file(vocab_path_);
    file.write(*vocabulary);
    save(output_path_, counts, "", &file);
  }
  void print(const Counts& counts, const std::string& format, double seconds, const CountPlan& plan,
             std::uint64_t planned) const {
    if (output_.json) {
      nlohmann::ordered_json out{{"output", output_path_},
                                 {"format", format},
                                 {"strategy", strategy_name(plan.strategy)},
                                 {"memory_bytes", planned},
                                 {"vocab", counts.vocab},
                                 {"tokens", counts.tokens},
                                 {"corpus_hash", counts.corpus_hash},
                                 {"seconds", seconds}};
      if (const auto covered = coverage(counts)) {
        out["unknown_tokens"] = covered->unknown;
        out["unknown_share"] = covered->share;
      }
      for (std::size_t n = 0; n < counts.lags.size(); ++n)
        array_in(out, "lags")
            .push_back({{"lag", n + 1}, {"pairs", counts.pairs[n]}, {"distinct", counts.lags[n].nnz()}});
      print_json(out);
      return;
    }
    std::fputs(fmt::format("{}, {} ({})\n\nlag        pairs     distinct\n", counted(counts.tokens, "token"),
                           counted(counts.vocab, "id"), format)
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
