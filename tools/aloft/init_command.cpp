#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "host/error.hpp"
#include "host/json_build.hpp"
#include "host/plural.hpp"
#include "host/printable.hpp"
#include "pipeline/run/run.hpp"
#include "tools/aloft/commands.hpp"
#include "tools/aloft/config_file.hpp"
#include "tools/aloft/options.hpp"
#include "tools/aloft/output.hpp"
#include "tools/aloft/terminal_progress.hpp"

namespace aloft {
namespace {

using nlohmann::ordered_json;

// Not part of what a run is: they change no tensor, or name where it goes, or what only this machine has.
const std::vector<std::string> kNotSettings{"config",  "json",   "quiet",  "force",        "output",
                                            "threads", "memory", "device", "device-memory"};
const std::vector<std::string> kPaths{"corpus",    "counts", "vocabulary",  "tokenizer",
                                      "embedding", "arch",   "model-config"};

ordered_json json_of(const RunOutcome& r, const std::string& output) {
  ordered_json out{{"output", output}, {"files", r.files}, {"tensors", r.tensors}, {"resumed", r.resumed}};
  if (!r.corpus_hash.empty())
    out["corpus"] = {{"format", r.corpus_format}, {"hash", r.corpus_hash},
                     {"vocab", r.corpus_vocab},   {"tokens", r.tokens},
                     {"pairs", r.pairs},          {"participation_ratio", r.corpus_pr}};
  if (r.coverage) {
    out["corpus"]["unknown_tokens"] = r.coverage->unknown;
    out["corpus"]["unknown_share"] = r.coverage->share;
  }
  for (std::size_t l = 0; l < r.layers.size(); ++l) {
    const LayerExpansion& e = r.layers[l];
    array_in(out, "layers")
        .push_back({{"layer", l},
                    {"lag", e.lag},
                    {"method", e.method},
                    {"pr_before", e.pr_before},
                    {"pr_after", e.pr_after},
                    {"spectral_cosine", e.spectral_cosine},
                    {"matrix_cosine", e.matrix_cosine},
                    {"scale", r.composition[l].scale},
                    {"truncation_residual", r.composition[l].truncation_residual}});
  }
  std::uint64_t most = 0;
  for (const StageTime& t : r.times) most = std::max(most, t.peak_bytes);
  out["peak_device_bytes"] = most;  // of all buffers at once
  for (const StageTime& t : r.times)
    array_in(out, "stages").push_back({{"name", t.name}, {"seconds", t.seconds}, {"resumed", t.resumed}});
  return out;
}

void print_table(const RunOutcome& r, const std::string& output) {
  if (!r.corpus_hash.empty())
    std::fputs(fmt::format("corpus   {}, {}{}\n", counted(r.tokens, "token"), counted(r.corpus_vocab, "id"),
                           r.corpus_format.empty() ? "" : ", " + r.corpus_format)
                   .c_str(),
               stdout);
  const ModelShape& s = r.shape;
  std::fputs(fmt::format("model    {}, {} ({} key/value) of {}, width {}\n", counted(s.layers, "layer"),
                         counted(s.heads, "head"), s.kv_heads, s.head_dim, s.d_model)
                 .c_str(),
             stdout);
  if (!r.layers.empty()) {
    std::fputs("\nlayer  lag  PR before  PR after  spectral cosine  matrix cosine\n", stdout);
    for (std::size_t l = 0; l < r.layers.size(); ++l) {
      const LayerExpansion& e = r.layers[l];
      std::fputs(fmt::format("{:>5}  {:>3}  {:>9.2f}  {:>8.2f}  {:>15.3f}  {:>13.3f}\n", l, e.lag,
                             e.pr_before, e.pr_after, e.spectral_cosine, e.matrix_cosine)
                     .c_str(),
                 stdout);
    }
    std::fputs("(PR: energy participation ratio. Its nulls, and the paper's figures, are in spectra.json.)\n",
               stdout);
  }
  std::fputs(fmt::format("\nwrote {}: {}\n",
                         printable((std::filesystem::path(output) / "init.safetensors").string()),
                         counted(r.tensors, "tensor"))
                 .c_str(),
             stdout);
}

class InitCommand final : public Command {
 public:
  explicit InitCommand(CLI::App& program)
      : app_(*program.add_subcommand("init", "Corpus in, layer-specific init tensors out")) {
    app_.add_option("--config", config_path_,
                    "Flags from a YAML file or a run's manifest.json; the command line wins")
        ->type_name("FILE");
    app_.add_option("--output", config_.output, "Folder to write (created)")->type_name("FOLDER");
    app_.add_flag("--force", config_.force, "Replace a former run there");
    add_output_options(app_, output_);
    add_corpus_options(app_, config_.corpus);
    add_counts_file_option(app_, config_);
    app_.add_option("--corpus-hash", config_.expected_corpus_hash,
                    "Refuse a corpus of another hash (manifests set it)")
        ->group("Corpus");
    add_count_options(app_, count_);
    add_model_options(app_, model_);
    add_design_options(app_, config_, design_);
    add_offset_options(app_, config_.offset);
    app_.add_flag("--save-heads", config_.save_heads, "Also write heads.safetensors, the canonical form")
        ->group("Design");
    describe_recipes(app_);
  }
  CLI::App& app() override { return app_; }

  void run() override {
    if (config_.output.empty()) throw UsageError("--output is needed: the folder to write");
    settle(app_, config_, count_, design_);
    const Model model = load_model(model_);
    config_.corpus.model_vocab = model.vocab(model_.sizes);
    TerminalProgress progress(output_.quiet);
    for (const std::string& note : model.notes) progress.note(note);
    std::vector<std::string> left_out = foreign_flags(find_recipe(config_.compose.recipe));
    left_out.insert(left_out.end(), kNotSettings.begin(), kNotSettings.end());
    const RunOutcome outcome = run_init(config_, model_.sizes, model.config, model.architecture,
                                        settings_json(app_, left_out, kPaths), progress,
                                        [&](const std::string& line) { progress.note(line); });
    if (output_.json) {
      print_json(json_of(outcome, config_.output));
    } else {
      print_table(outcome, config_.output);
    }
  }

 private:
  CLI::App& app_;
  std::string config_path_;
  OutputOptions output_;
  CountOptions count_;
  ModelOptions model_;
  DesignOptions design_;
  RunConfig config_;
};

}  // namespace

std::unique_ptr<Command> make_init_command(CLI::App& program) {
  return std::make_unique<InitCommand>(program);
}

}  // namespace aloft
