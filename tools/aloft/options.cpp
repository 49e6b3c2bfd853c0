#include "tools/aloft/options.hpp"

#include <fmt/format.h>

#include "host/token_format.hpp"
#include "kernels/ops.hpp"
#include "tools/aloft/flag_kinds.hpp"

namespace aloft {
void add_output_options(CLI::App& command, OutputOptions& o) {
  command.add_flag("--json", o.json, "Print the result as JSON");
  command.add_flag("--quiet", o.quiet, "No progress, notes and warnings on stderr");
}

void add_corpus_options(CLI::App& command, CorpusSpec& spec) {
  const std::string group = "Corpus";
  command.add_option("--corpus", spec.paths, "Text or token files, or folders of them; - reads stdin")
      ->type_name("FILE")
      ->group(group);
  command
      .add_option("--exclude", spec.exclude,
                  "Of a folder: leave out what has such a name or path, e.g. '*.json' vendor")
      ->check(not_empty())
      ->type_name("PATTERN")
      ->group(group);
  const std::vector<std::string> formats = format_names();
  command.add_option("--format", spec.format, fmt::format("How it is stored: {}", fmt::join(formats, ", ")))
      ->capture_default_str()
      ->check(one_of(formats))
      ->type_name("WORD")
      ->group(group);
  command.add_option("--tokenizer", spec.tokenizer, "For text: words, bytes or a SentencePiece .model file")
      ->capture_default_str()
      ->type_name("NAME|FILE")
      ->group(group);
  command.add_option("--vocab-size", spec.vocab_size, "Ids below this (words: types kept, unknown included)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 31))
      ->type_name("V")
      ->group(group);
  command.add_option("--vocabulary", spec.vocabulary, "words: use this vocab.json instead of building one")
      ->type_name("FILE")
      ->group(group);
  command.add_option("--doc-sep-id", spec.doc_sep_id, "Token files: this id is between documents")
      ->type_name("ID")
      ->group(group);
  command
      .add_option("--doc-sep", spec.doc_sep, "Text: this string is between documents, e.g. '<|endoftext|>'")
      ->check(utf8_text())
      ->type_name("TEXT")
      ->group(group);
  add_choice(command, "--utf8", spec.invalid_utf8,
             {{"strict", InvalidUtf8::refuse}, {"replace", InvalidUtf8::replace}}, "Text that is not UTF-8")
      ->group(group);
}

void add_count_options(CLI::App& command, CountOptions& o) {
  const std::string group = "Counting";
  command.add_option("--lags", o.lags, "Count token pairs 1..N apart")
      ->capture_default_str()
      ->check(CLI::Range(1, 64))
      ->type_name("N")
      ->group(group);
  add_choice(command, "--strategy", o.strategy,
             {{"auto", CountStrategy::automatic},
              {"dense", CountStrategy::dense},
              {"striped", CountStrategy::striped},
              {"sparse", CountStrategy::sparse}},
             "How to count")
      ->group(group);
  add_backend_options(command, o, group);
}

void add_backend_options(CLI::App& command, CountOptions& o, const std::string& group) {
  command
      .add_option("--backend", o.backend,
                  kMeasuredOnGpu ? "auto (a GPU where there is one), cpu or cuda"
                                 : "auto (cpu, until cuda has been measured on a GPU), cpu or cuda")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->group(group);
  add_device_option(command, o.gpu)->group(group);
  command.add_option("--threads", o.threads, "CPU threads; 0: all processors")
      ->capture_default_str()
      ->check(CLI::Range(0, 4096))
      ->group(group);
  command
      .add_option("--memory", o.memory,
                  "Refuse what needs more, e.g. 8G (default: 90% of what machine, cgroup and ulimit leave)")
      ->type_name("SIZE")
      ->check(not_empty())
      ->group(group);
  command
      .add_option("--device-memory", o.device_memory,
                  "The same for a GPU's own memory (default: what is free there, less a reserve)")
      ->type_name("SIZE")
      ->check(not_empty())
      ->group(group);
}

void add_counts_file_option(CLI::App& command, RunConfig& config) {
  command.add_option("--counts", config.counts_file, "Start from these counts instead of a corpus")
      ->type_name("FILE")
      ->group("Corpus");
}

CLI::Option* add_device_option(CLI::App& command, std::string& gpu) {
  return command
      .add_option("--device", gpu,
                  "GPU to use: its index or UUID as `aloft doctor` lists them (default: the first)")
      ->type_name("INDEX|UUID")
      ->check(not_empty());
}

}  // namespace aloft
