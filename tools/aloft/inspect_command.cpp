#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "host/error.hpp"
#include "host/interrupt.hpp"
#include "host/npy.hpp"
#include "host/safetensors.hpp"
#include "host/vocabulary.hpp"
#include "kernels/spectral_measures.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/model/architecture.hpp"
#include "pipeline/recipes/recipe.hpp"
#include "tools/aloft/commands.hpp"
#include "tools/aloft/options.hpp"
#include "tools/aloft/terminal_progress.hpp"

namespace aloft {
namespace {

using nlohmann::ordered_json;

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

bool is_floating(DType t) {
  return t == DType::f32 || t == DType::f64 || t == DType::f16 || t == DType::bf16;
}

ordered_json tensor_summary(const SafetensorsReader& file, const TensorInfo& t) {
  ordered_json out{{"name", t.name}, {"dtype", dtype_name(t.dtype)}, {"shape", shape_text(t.shape)}};
  if (!is_floating(t.dtype) || t.elements() == 0) return out;
  double sum = 0, squares = 0, largest = 0;
  std::int64_t not_finite = 0;
  for (const double x : file.read_real(t.name, t.shape)) {
    if (!std::isfinite(x)) {
      ++not_finite;
      continue;
    }
    sum += x;
    squares += x * x;
    largest = std::max(largest, std::abs(x));
  }
  const double n = static_cast<double>(t.elements() - not_finite), mean = n > 0 ? sum / n : 0;
  out["mean"] = mean;
  out["std"] = n > 0 ? std::sqrt(std::max(0.0, squares / n - mean * mean)) : 0;
  out["norm"] = std::sqrt(squares);
  out["largest"] = largest;
  if (not_finite > 0) out["not_finite"] = not_finite;
  return out;
}

ordered_json counts_summary(const std::string& path) {
  Backend backend = make_backend("cpu");
  const Counts counts = *load<Counts>(*backend.device, path, "");
  ordered_json out{{"vocab", counts.vocab}, {"tokens", counts.tokens}, {"corpus_hash", counts.corpus_hash}};
  out["ids_seen"] =
      std::count_if(counts.unigram.begin(), counts.unigram.end(), [](std::uint64_t n) { return n > 0; });
  for (std::size_t n = 0; n < counts.lags.size(); ++n) {
    const RealCsr real = backend.linear->to_real(counts.lags[n].view(), nullptr);
    const Asymmetry a = asymmetry(backend.linear->transpose_inner(real.view()));
    out["lags"].push_back({{"lag", n + 1},
                           {"pairs", counts.pairs[n]},
                           {"distinct", counts.lags[n].nnz()},
                           {"count_asymmetry_ratio", a.ratio}});
  }
  return out;
}

/// Name of the stage that leaves such a file; "" for none.
std::string stage_of(const std::string& artifact) {
  for (const Recipe& recipe : all_recipes())
    for (const Stage& stage : recipe.stages)
      if (stage.artifact == artifact) return std::string(stage.name);
  return "";
}

ordered_json safetensors_summary(const std::string& path) {
  const SafetensorsReader file(path);
  ordered_json out{{"kind", "safetensors"}};
  const auto kind = file.metadata().find("artifact");
  if (kind != file.metadata().end()) {
    out["kind"] = "aloft " + kind->second;
    if (const std::string stage = stage_of(kind->second); !stage.empty()) out["stage"] = stage;
  }
  out["metadata"] = file.metadata();
  out["metadata"].erase(
      "layers");  // an artifact's record of its layers: long, and spectra.json says it better
  if (kind != file.metadata().end() && kind->second == kCount.artifact) {
    out["counts"] = counts_summary(path);
    return out;
  }
  for (const TensorInfo& t : file.tensors()) out["tensors"].push_back(tensor_summary(file, t));
  return out;
}

ordered_json json_summary(const std::string& path) {
  const std::string text = read_file(path);
  const ordered_json json = ordered_json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object()) throw InputError(path + ": is no JSON object");
  if (json.contains("tokenizer") && json["tokenizer"] == "sentencepiece" && json.contains("tokens"))
    return {{"kind", "vocabulary"}, {"tokenizer", "sentencepiece"}, {"size", json["tokens"].size()}};
  if (json.contains("tokenizer") && json.contains("tokens")) {
    const Vocabulary v(text, path);
    ordered_json out{{"kind", "vocabulary"}, {"size", v.size()}, {"tokens", v.tokens()}};
    for (TokenId id = 0; id < std::min<std::int64_t>(12, v.tokens()); ++id)
      out["most_frequent"].push_back(v.token(id));
    return out;
  }
  if (json.contains("manifest")) {
    ordered_json out{{"kind", "manifest of a run"}, {"settings", json}};
    out["settings"].erase("manifest");
    out["record"] = json["manifest"];
    return out;
  }
  if (json.contains("coordinates") && json.contains("chosen_on"))
    return {{"kind", "report of the offset recipe"}, {"content", json}};
  if (json.contains("layers") && json.contains("lags")) return {{"kind", "spectra"}, {"content", json}};
  if (json.contains("model_type")) {
    const ModelConfig c = parse_model_config(text, path);
    ordered_json out{{"kind", "Hugging Face config"}, {"architecture", c.architecture}};
    const auto say = [&](const char* name, const auto& value) {
      if (value) out[name] = *value;
    };
    say("layers", c.layers);
    say("heads", c.heads);
    say("kv_heads", c.kv_heads);
    say("head_dim", c.head_dim);
    say("d_model", c.d_model);
    say("context", c.context);
    say("vocab", c.vocab);
    say("rope_base", c.rope_base);
    return out;
  }
  const Architecture a = parse_architecture(text, path);
  return {{"kind", "architecture"}, {"name", a.name}, {"description", a.description}};
}

ordered_json corpus_summary(CorpusSpec spec, ProgressSink& progress) {
  if (spec.vocab_size == 0) spec.vocab_size = kMaxVocab;
  const auto corpus = open_corpus(spec, progress);
  const auto source = corpus->open();
  std::vector<TokenId> block(std::size_t{1} << 16);
  std::vector<std::uint64_t> unigram;
  std::uint64_t tokens = 0, documents = 0;
  bool inside = false;
  while (const std::size_t n = source->read(block)) {
    check_interrupt();
    for (std::size_t k = 0; k < n; ++k) {
      if (block[k] == kDocumentBreak) {
        inside = false;
        continue;
      }
      documents += !inside;
      inside = true;
      ++tokens;
      if (block[k] >= unigram.size()) unigram.resize(std::size_t{block[k]} + 1);
      ++unigram[block[k]];
    }
    const auto at = source->position();
    progress.update("inspect", static_cast<double>(at.done), static_cast<double>(at.total), tokens, "tokens");
  }
  return {{"kind", "corpus"},
          {"format", corpus->format_name()},
          {"tokens", tokens},
          {"documents", documents},
          {"ids_seen", std::count_if(unigram.begin(), unigram.end(), [](std::uint64_t n) { return n > 0; })},
          {"largest_id", unigram.empty() ? -1 : static_cast<std::int64_t>(unigram.size()) - 1}};
}

std::string plain(const ordered_json& v) { return v.is_string() ? v.get<std::string>() : v.dump(); }

// Objects as indented `name: value`, lists of objects as one row each.
void print(const ordered_json& value, const std::string& indent) {
  for (const auto& [name, v] : value.items()) {
    if (v.is_object()) {
      std::fputs(fmt::format("{}{}:\n", indent, name).c_str(), stdout);
      print(v, indent + "  ");
    } else if (v.is_array() && !v.empty() && v[0].is_object()) {
      std::fputs(fmt::format("{}{}:\n", indent, name).c_str(), stdout);
      for (const auto& row : v) {
        std::string line;
        for (const auto& [key, cell] : row.items())
          if (!cell.is_structured())
            line +=
                fmt::format("  {} {}", key,
                            cell.is_number_float() ? fmt::format("{:.5g}", cell.get<double>()) : plain(cell));
        std::fputs(fmt::format("{}{}\n", indent, line).c_str(), stdout);
      }
    } else {
      std::fputs(fmt::format("{}{}: {}\n", indent, name, plain(v)).c_str(), stdout);
    }
  }
}

class InspectCommand final : public Command {
 public:
  explicit InspectCommand(CLI::App& program)
      : app_(*program.add_subcommand("inspect", "A summary of any file this program writes or reads")) {
    app_.add_option("file", path_, "Tensors, counts, vocabulary, manifest, model config, text or token file")
        ->type_name("FILE");
    add_output_options(app_, output_);
    add_corpus_options(app_, corpus_);
  }
  CLI::App& app() override { return app_; }

  void run() override {
    if (path_.empty()) throw UsageError("inspect needs a file");
    if (!std::filesystem::exists(path_)) throw InputError(path_ + ": no such file");
    TerminalProgress progress(output_.quiet);
    ordered_json out = summary(progress);
    out["bytes"] = std::filesystem::file_size(path_);
    if (output_.json) {
      std::fputs((out.dump(1) + "\n").c_str(), stdout);
    } else {
      print(out, "");
    }
  }

 private:
  ordered_json summary(ProgressSink& progress) {
    const std::string extension = std::filesystem::path(path_).extension().string();
    if (extension == ".safetensors") return safetensors_summary(path_);
    if (extension == ".json") return json_summary(path_);
    if (extension == ".npy") {
      const std::string text = read_file(path_, std::uint64_t{1} << 40);
      const NpyHeader header = parse_npy_header(text, path_, text.size());
      if (header.kind == 'f')
        return {{"kind", "npy"}, {"dtype", header.dtype}, {"shape", header.shape_text()}};
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
