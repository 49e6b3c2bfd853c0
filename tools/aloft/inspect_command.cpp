#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "host/error.hpp"
#include "host/input_file.hpp"
#include "host/npy.hpp"
#include "host/printable.hpp"
#include "tools/aloft/commands.hpp"
#include "tools/aloft/inspect.hpp"
#include "tools/aloft/options.hpp"
#include "tools/aloft/output.hpp"
#include "tools/aloft/terminal_progress.hpp"

namespace aloft {

namespace {

using nlohmann::ordered_json;

/// On one line.
std::string plain(const ordered_json& v) {
  const std::string text =
      v.is_string() ? v.get<std::string>() : v.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  return printable(text, text.size());
}

// Objects as indented `name: value`, lists of objects as one row each.
void print(const ordered_json& value, const std::string& indent) {
  const auto line = [&](const std::string& name, const std::string& text) {
    std::fputs(fmt::format("{}{}:{}\n", indent, printable(name), text).c_str(), stdout);
  };
  for (const auto& [name, v] : value.items()) {
    if (v.is_object()) {
      line(name, "");
      print(v, indent + "  ");
    } else if (v.is_array() && !v.empty() && v[0].is_object()) {
      line(name, "");
      for (const auto& row : v) {
        std::string cells;
        for (const auto& [key, cell] : row.items())
          if (!cell.is_structured())
            cells +=
                fmt::format("  {} {}", printable(key),
                            cell.is_number_float() ? fmt::format("{:.5g}", cell.get<double>()) : plain(cell));
        std::fputs(fmt::format("{}{}\n", indent, cells).c_str(), stdout);
      }
    } else {
      line(name, " " + plain(v));
    }
  }
}

class InspectCommand final : public Command {
 public:
  explicit InspectCommand(CLI::App& program)
      : app_(*program.add_subcommand("inspect", "A summary of any file this program writes or reads")) {
    app_.add_option(
            "file", path_,
            "Tensors, counts, vocabulary, manifest, run or checkpoint folder, model config, text or ids")
        ->type_name("FILE");
    add_output_options(app_, output_);
    add_corpus_options(app_, corpus_);
  }
  CLI::App& app() override { return app_; }

  void run() override {
    if (path_.empty() && corpus_.paths.size() == 1)
      path_ = corpus_.paths.front();  // as other commands say it
    if (path_.empty()) throw UsageError("inspect needs a file");
    if (path_ != "-" && !std::filesystem::exists(path_)) throw InputError(path_ + ": no such file");
    TerminalProgress progress(output_.quiet);
    ordered_json out = summary(progress);
    if (std::filesystem::is_regular_file(path_)) out["bytes"] = std::filesystem::file_size(path_);
    if (output_.json) {
      print_json(out);
    } else {
      print(out, "");
    }
  }

 private:
  static constexpr char kSafetensors = '\1';
  /// The file's first character; kSafetensors where a length and a header stand there.
  [[nodiscard]] char first_character() const {
    std::error_code unknown;
    if (!std::filesystem::is_regular_file(path_, unknown)) return '\0';
    InputFile file(path_);
    const std::string head = file.head();
    return head.size() > 8 && head[8] == '{' && head.substr(4, 4) == std::string(4, '\0') ? kSafetensors
                                                                                          : head[0];
  }
  ordered_json summary(ProgressSink& progress) {
    if (std::filesystem::is_directory(path_))
      for (const auto& summary_of : {run_folder_summary, checkpoint_summary})
        if (ordered_json known = summary_of(path_); !known.is_null()) return known;
    const std::string extension = std::filesystem::path(path_).extension().string();
    const char first =
        extension.empty() ? first_character() : '\0';  // what this program wrote under any name
    if (extension == ".safetensors" || first == kSafetensors) return safetensors_summary(path_);
    if (extension == ".json" || first == '{') return json_summary(path_);
    if (extension == ".npy") {
      InputFile file(path_);
      const std::string head = file.head();
      if (has_npy_magic(head) || !file.rewindable()) {  // else raw ids, perhaps
        const NpyHeader header = parse_npy_header(head, path_, file.size());
        const bool ids = (header.kind == 'u' || header.kind == 'i') && header.shape.size() == 1;
        if (!ids || !file.rewindable())
          return {{"kind", "npy"}, {"dtype", header.dtype}, {"shape", header.shape_text()}};
      }
    }
    CorpusSpec spec = corpus_;
    spec.paths = {path_};
    return corpus_summary(spec, progress);
  }

  CLI::App& app_;
  std::string path_;
  OutputOptions output_;
  CorpusSpec corpus_;
};

}  // namespace

std::unique_ptr<Command> make_inspect_command(CLI::App& program) {
  return std::make_unique<InspectCommand>(program);
}

}  // namespace aloft
