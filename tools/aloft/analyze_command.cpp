#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "host/atomic_file.hpp"
#include "host/byte_size.hpp"
#include "host/error.hpp"
#include "host/json_build.hpp"
#include "host/plural.hpp"
#include "host/printable.hpp"
#include "host/tidy_up.hpp"
#include "pipeline/analysis/analysis.hpp"
#include "pipeline/analysis/output.hpp"
#include "pipeline/base/machine_memory.hpp"
#include "pipeline/model/checkpoint.hpp"
#include "pipeline/run/plan.hpp"
#include "tools/aloft/commands.hpp"
#include "tools/aloft/flag_kinds.hpp"
#include "tools/aloft/memory_size.hpp"
#include "tools/aloft/options.hpp"
#include "tools/aloft/output.hpp"
#include "tools/aloft/terminal_progress.hpp"

namespace aloft {
namespace {

namespace fs = std::filesystem;

/// A checkpoint as the analysis reads it, and the file behind it.
struct OpenModel {
  std::unique_ptr<Checkpoint> checkpoint;
  analysis::Model model;
};

class AnalyzeCommand final : public Command {
 public:
  explicit AnalyzeCommand(CLI::App& program)
      : app_(*program.add_subcommand("analyze", "A checkpoint's attention against its corpus, with nulls")) {
    app_.add_option("--config", config_path_, "Flags from a YAML file; the command line wins")
        ->type_name("FILE");
    app_.add_option("--checkpoint", checkpoint_, "safetensors file, or folder of a Hugging Face checkpoint")
        ->type_name("PATH");
    app_.add_option("--second", second_, "Another checkpoint of the same model, to compare with")
        ->type_name("PATH");
    app_.add_option("--counts", counts_,
                    "Counts of the corpus in the model's ids, as `aloft count` writes them")
        ->type_name("FILE");
    app_.add_option("--output", output_path_, "Folder to write (created)")->type_name("FOLDER");
    app_.add_flag("--force", force_, "Replace a former analysis there");
    add_output_options(app_, output_);
    add_model_options(app_, model_);
    const std::string group = "Analysis";
    app_.add_option("--lags", lags_,
                    "Compare with pairs 1..N apart (default: all that are counted, 8 at most)")
        ->check(CLI::Range(1, 64))
        ->type_name("N")
        ->group(group);
    const auto count = [&](const char* flag, std::int64_t& value, std::int64_t most, const char* help) {
      app_.add_option(flag, value, help)
          ->capture_default_str()
          ->check(CLI::Range(std::int64_t{0}, most))
          ->type_name("N")
          ->group(group);
    };
    count("--permutations", params_.permutations, 100'000, "Signed permutations of each null");
    count("--draws", params_.draws, 10'000, "Gaussian layers of each null (above 768 dimensions: 10)");
    app_.add_option("--null-tokens", params_.null_tokens, "Tokens of shuffled text, at most")
        ->capture_default_str()
        ->check(CLI::Range(std::uint64_t{2}, std::uint64_t{1} << 48))
        ->type_name("N")
        ->group(group);
    app_.add_option("--seed", params_.seed, "Of all nulls")
        ->capture_default_str()
        ->type_name("N")
        ->group(group);
    add_backend_options(app_, backend_, "Machine");
  }
  CLI::App& app() override { return app_; }

  void run() override {
    if (checkpoint_.empty()) throw UsageError("--checkpoint is needed: the model to analyse");
    if (output_path_.empty()) throw UsageError("--output is needed: the folder to write");
    expect_output();
    TerminalProgress progress(output_.quiet);
    find_model_config();
    const Model known = load_model(model_);
    for (const std::string& note : known.notes) progress.note(note);
    const Architecture arch = specialize(known.architecture, known.config);
    const OpenModel first = open(checkpoint_, arch, known.config, progress);
    std::optional<OpenModel> second;
    if (!second_.empty()) second = open(second_, arch, known.config, progress);

    Backend backend = make_backend(backend_.backend, backend_.threads, backend_.gpu);
    const MemoryBudget memory = memory_budget(backend_.memory, backend_.threads);
    const std::uint64_t device_memory = device_memory_asked(backend_.device_memory);
    for (const std::string& line :
         {backend.note, memory.warning, device_memory_note(*backend.device, device_memory)})
      if (!line.empty()) progress.note(line);
    Context ctx(backend, progress);
    const std::optional<Counts> counts = load_corpus(ctx, first.model.shape);
    if (const std::string note = fewer_ids(counts, first.model.shape); !note.empty())
      progress.note("note: " + note);
    if (!counts) progress.note("note: without --counts only what the weights say by themselves is measured");
    check_memory(backend, memory, device_memory, first.model, second.has_value(), counts, progress);

    if (app_.count("--draws") == 0 && first.model.shape.d_model > analysis::kWidestPermuted)
      params_.draws = analysis::kDrawsOfWide;
    const analysis::Analysis result =
        measured(ctx, first.model, second ? &second->model : nullptr, counts ? &*counts : nullptr, params_);
    const analysis::Report report{result,
                                  facts_of(first),
                                  second ? facts_of(*second) : nullptr,
                                  counts ? corpus_facts(*counts) : nullptr,
                                  params_,
                                  notes_of(first, second, counts)};
    fs::create_directories(output_path_);
    const std::vector<std::string> files = analysis::write(output_path_, report);
    interrupts_are_over();
    print(result, files, ctx);
  }

 private:
  /// What is measured is kept nowhere until all of it is there.
  static analysis::Analysis measured(Context& ctx, const analysis::Model& model,
                                     const analysis::Model* second, const Counts* counts,
                                     const analysis::AnalysisParams& params) {
    try {
      return analysis::analyze(ctx, model, second, counts, params);
    } catch (const Interrupted&) {
      throw Interrupted("interrupted; nothing was written, and the same command begins again");
    }
  }

  /// Before any work, and without leaving anything.
  void expect_output() const {
    const fs::path folder(output_path_), file = folder / analysis::kFile;
    std::error_code ignored;
    if (fs::exists(folder, ignored) && !fs::is_directory(folder, ignored))
      throw UsageError(output_path_ + ": is a file; --output names a folder");
    for (const std::string& name : analysis::file_names())
      if (fs::exists(folder / name, ignored) && !force_)
        throw UsageError((folder / name).string() + ": already exists; use --force to replace it");
    fs::path there = fs::absolute(folder).lexically_normal();  // what of it exists already
    while (!fs::exists(there, ignored) && there.has_relative_path()) there = there.parent_path();
    expect_can_be_written((there / analysis::kFile).string());
    remove_leftovers(file.string());
  }

  /// A checkpoint's own config.json says what model it is where no flag does.
  void find_model_config() {
    if (!model_.arch.empty() || !model_.model_config.empty()) return;
    const fs::path beside = fs::is_directory(checkpoint_)
                                ? fs::path(checkpoint_) / "config.json"
                                : fs::path(checkpoint_).parent_path() / "config.json";
    if (fs::exists(beside)) model_.model_config = beside.string();
  }

  [[nodiscard]] OpenModel open(const std::string& path, const Architecture& arch, const ModelConfig& config,
                               TerminalProgress& progress) const {
    OpenModel out{std::make_unique<Checkpoint>(path, arch), {}};
    const Checkpoint& file = *out.checkpoint;
    analysis::Model& m = out.model;
    m.architecture = arch;
    m.shape = file.shape(model_.sizes, config);
    m.embedding = file.embedding(m.shape);
    if (std::vector<float> head = file.head(m.shape); head != m.embedding) m.head = std::move(head);
    if (auto positions = file.positions(m.shape)) m.positions = std::move(*positions);
    m.layer = [checkpoint = out.checkpoint.get(), shape = m.shape](std::int64_t l) {
      CheckpointLayer layer = checkpoint->layer(shape, l);
      return analysis::ModelLayer{std::move(layer.heads),
                                  {std::move(layer.query_bias), std::move(layer.key_bias)}};
    };
    for (const std::string& note : file.notes()) progress.note(note);
    return out;
  }

  [[nodiscard]] std::optional<Counts> load_corpus(Context& ctx, const ModelShape& shape) const {
    if (counts_.empty()) return std::nullopt;
    auto counts = load<Counts>(ctx.device(), counts_, "");
    if (!counts) throw InputError(counts_ + ": no such file");
    if (counts->vocab > shape.vocab)
      throw InputError(fmt::format("{}: has {} ids, the model {}: count the corpus in the model's own ids",
                                   counts_, counts->vocab, shape.vocab));
    require_pairs(*counts, counts_);
    const std::int32_t lags = lags_.value_or(std::min(counts->max_lag, 8));
    if (lags > counts->max_lag)
      throw UsageError(
          fmt::format("{} holds {}, --lags asks for {}", counts_, counted(counts->max_lag, "lag"), lags));
    counts->max_lag = lags;
    counts->lags.resize(static_cast<std::size_t>(lags));
    counts->pairs.resize(static_cast<std::size_t>(lags));
    return counts;
  }

  void check_memory(const Backend& backend, const MemoryBudget& memory, std::uint64_t device_memory,
                    const analysis::Model& model, bool with_second, const std::optional<Counts>& counts,
                    TerminalProgress& progress) const {
    std::optional<CountsShape> shape;
    if (counts) shape = shape_of(*counts);
    const Peak peak = analysis::analysis_memory(*backend.linear, model.shape, model.head.empty(), with_second,
                                                shape ? &*shape : nullptr);
    const std::uint64_t loaded = program_memory(backend_.threads);  // the counts are there already
    const bool apart = !backend.device->shares_host_memory();
    const std::uint64_t host = loaded + (apart ? peak.host() : peak.together());
    progress.note(fmt::format("plan: at most {} of memory{}, {} at a time", readable_bytes(host),
                              apart ? ", " + readable_bytes(peak.device()) + " of the GPU's" : "",
                              counted(analysis::layers_at_a_time(model.shape), "layer")));
    if (memory.bytes > 0 && host > memory.bytes)
      throw ResourceError(fmt::format("the analysis needs about {} of memory, {} are allowed ({})",
                                      readable_bytes(host), readable_bytes(memory.bytes), memory.limit));
    if (apart && peak.device() > device_budget(*backend.device, device_memory))
      throw ResourceError(fmt::format("the analysis needs about {} of the GPU's memory, {} are allowed",
                                      readable_bytes(peak.device()),
                                      readable_bytes(device_budget(*backend.device, device_memory))));
  }

  [[nodiscard]] nlohmann::ordered_json facts_of(const OpenModel& m) const {
    const ModelShape& s = m.model.shape;
    return {{"path", m.checkpoint->files().origin()},
            {"architecture", m.model.architecture.name},
            {"layers", s.layers},
            {"heads", s.heads},
            {"kv_heads", s.kv_heads},
            {"head_dim", s.head_dim},
            {"d_model", s.d_model},
            {"context", s.context},
            {"vocab", s.vocab},
            {"rotary_dim", s.rotary_dim},
            {"tied", m.model.head.empty()}};
  }
  [[nodiscard]] static nlohmann::ordered_json corpus_facts(const Counts& counts) {
    return {{"hash", counts.corpus_hash},
            {"tokens", counts.tokens},
            {"vocab", counts.vocab},
            {"lags", counts.max_lag}};
  }
  /// Counts of other ids look like that, too: words in place of the model's own.
  [[nodiscard]] static std::string fewer_ids(const std::optional<Counts>& counts, const ModelShape& shape) {
    if (!counts || counts->vocab == shape.vocab) return "";
    return fmt::format("the counts have {} ids, the model {}: they are taken for those of its first ids",
                       counts->vocab, shape.vocab);
  }
  [[nodiscard]] static std::vector<std::string> notes_of(const OpenModel& first,
                                                         const std::optional<OpenModel>& second,
                                                         const std::optional<Counts>& counts) {
    std::vector<std::string> out = first.checkpoint->notes();
    if (second)
      for (const std::string& note : second->checkpoint->notes()) out.push_back("second: " + note);
    if (!first.checkpoint->folds_norms())
      out.emplace_back(
          "no gains of norms before attention are applied: the file has none that the architecture names");
    const ModelShape& s = first.model.shape;
    if (const std::string note = fewer_ids(counts, s); !note.empty()) out.push_back(note);
    if (s.heads * s.head_dim != s.d_model)
      out.push_back(
          fmt::format("Q, K and V have {} rows and {} columns: element by element they compare with nothing",
                      s.heads * s.head_dim, s.d_model));
    return out;
  }

  void print(const analysis::Analysis& result, const std::vector<std::string>& files, Context& ctx) const {
    if (output_.json) {
      nlohmann::ordered_json out{{"output", output_path_}, {"files", files}};
      for (const StageTime& t : ctx.times())
        array_in(out, "stages")
            .push_back({{"name", t.name}, {"seconds", t.seconds}, {"peak_bytes", t.peak_bytes}});
      for (const analysis::Table& table : result.tables)
        if (table.name == "claims") out["claims"] = analysis::json_of(table)["rows"];
      print_json(out);
      return;
    }
    std::fputs(analysis::summary(result).c_str(), stdout);
    std::fputs(
        fmt::format("\nwrote {}: analysis.json and {}; `aloft report {}` makes a page of it\n",
                    printable(output_path_), counted(files.size() - 1, "table"), printable(output_path_))
            .c_str(),
        stdout);
  }

  CLI::App& app_;
  std::string config_path_, checkpoint_, second_, counts_, output_path_;
  bool force_ = false;
  OutputOptions output_;
  ModelOptions model_;
  CountOptions backend_;
  std::optional<std::int32_t> lags_;
  analysis::AnalysisParams params_;
};

}  // namespace

std::unique_ptr<Command> make_analyze_command(CLI::App& program) {
  return std::make_unique<AnalyzeCommand>(program);
}

}  // namespace aloft
