#include "tools/aloft/options.hpp"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <map>

#include "host/atomic_file.hpp"
#include "host/error.hpp"
#include "kernels/ops.hpp"
#include "tools/aloft/builtin_architectures.hpp"
#include "tools/aloft/memory_size.hpp"

namespace aloft {
namespace {

/// An empty value is a variable that was not set, not a wish for the default.
CLI::Validator given() {
  return {[](const std::string& value) { return std::string(value.empty() ? "an empty value" : ""); }, ""};
}

// A flag whose words stand for an enum's values; shown by name in --help and in manifests.
template <class E>
CLI::Option* add_choice(CLI::App& command, const std::string& flag, E& value,
                        const std::map<std::string, E>& words, const std::string& help) {
  std::string initial, names;
  for (const auto& [word, meaning] : words) {
    names += (names.empty() ? "" : ", ") + word;
    if (meaning == value) initial = word;
  }
  return command
      .add_option_function<std::string>(
          flag,
          [flag, &value, words, names](const std::string& word) {
            const auto found = words.find(word);
            if (found == words.end())
              throw CLI::ValidationError(flag, fmt::format("'{}' is not one of {}", word, names));
            value = found->second;
          },
          help + ": " + names)
      ->default_str(initial)
      ->type_name("WORD");
}

// CLI11's own checks show the largest double in full.
CLI::Validator number_check(const std::string& what, bool zero) {
  return CLI::Validator(
      [what, zero](const std::string& text) {
        double value = 0;
        const bool number = CLI::detail::lexical_cast(text, value) && std::isfinite(value);
        return number && (value > 0 || (zero && value == 0)) ? std::string()
                                                             : fmt::format("'{}' is no {}", text, what);
      },
      "FLOAT");
}
CLI::Validator number_above_zero() { return number_check("number above 0", false); }
CLI::Validator number_from_zero() { return number_check("number from 0", true); }

const std::map<std::string, CorpusFormat> kFormats{
    {"auto", CorpusFormat::automatic}, {"text", CorpusFormat::text}, {"u16", CorpusFormat::u16},
    {"u32", CorpusFormat::u32},        {"llmc", CorpusFormat::llmc}, {"npy", CorpusFormat::npy}};

}  // namespace

CLI::Validator whole_number() {
  return CLI::Validator(
      [](const std::string& text) {
        const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
        return digits ? std::string() : fmt::format("'{}' is no whole number from 0", text);
      },
      "UINT");
}

void add_output_options(CLI::App& command, OutputOptions& o) {
  command.add_flag("--json", o.json, "Print the result as JSON");
  command.add_flag("--quiet", o.quiet, "No progress and no notes on stderr");
}

void add_corpus_options(CLI::App& command, CorpusSpec& spec) {
  const std::string group = "Corpus";
  command.add_option("--corpus", spec.paths, "Text or token files; - reads stdin")
      ->type_name("FILE")
      ->group(group);
  add_choice(command, "--format", spec.format, kFormats, "How it is stored")->group(group);
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
  command.add_option("--doc-sep-id", spec.doc_sep_id, "Token files: this id stands between documents")
      ->type_name("ID")
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
      .add_option("--memory", o.memory, "Refuse what needs more, e.g. 8G (default: 90% of what is available)")
      ->type_name("SIZE")
      ->check(given())
      ->group(group);
  command
      .add_option("--device-memory", o.device_memory,
                  "The same for a GPU's own memory (default: what is free there, less a reserve)")
      ->type_name("SIZE")
      ->check(given())
      ->group(group);
}

CLI::Option* add_device_option(CLI::App& command, std::string& gpu) {
  return command
      .add_option("--device", gpu,
                  "GPU to use: its index or UUID as `aloft doctor` lists them (default: the first)")
      ->type_name("INDEX|UUID")
      ->check(given());
}

void add_model_options(CLI::App& command, ModelOptions& o) {
  const std::string group = "Model";
  std::string names;
  for (const auto& a : builtin_architectures()) names += (names.empty() ? "" : ", ") + a.name;
  command.add_option("--arch", o.arch, "One of " + names + ", or your own JSON file")
      ->type_name("NAME|FILE")
      ->group(group);
  command.add_option("--model-config", o.model_config, "Sizes from a Hugging Face config.json; flags win")
      ->type_name("FILE")
      ->group(group);
  const auto size = [&](const char* flag, std::optional<std::int64_t>& value, const char* help) {
    command.add_option(flag, value, help)
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 31))
        ->type_name("N")
        ->group(group);
  };
  size("--layers", o.sizes.layers, "Transformer layers");
  size("--heads", o.sizes.heads, "Query heads (default: d-model / 64)");
  size("--kv-heads", o.sizes.kv_heads, "Key/value heads (default: as many as heads)");
  size("--head-dim", o.sizes.head_dim, "Rows of a head (default: d-model / heads)");
  size("--d-model", o.sizes.d_model, "Model width");
  size("--context", o.sizes.context, "Context length (default: 1024)");
  size("--model-vocab-size", o.sizes.vocab, "Rows of the model's embedding, at least the corpus vocabulary");
  size("--mlp-width", o.sizes.mlp_width, "Hidden width of an MLP (default: the architecture's)");
  command
      .add_option("--init-std", o.sizes.init_std,
                  "Standard deviation of the usual init (default: the architecture's)")
      ->check(number_above_zero())
      ->type_name("X")
      ->group(group);
  command.add_option("--rope-base", o.sizes.rope_base, "RoPE base (default: the architecture's)")
      ->check(number_above_zero())
      ->type_name("X")
      ->group(group);
}

Model load_model(const ModelOptions& o) {
  Model model;
  if (!o.model_config.empty()) model.config = parse_model_config(read_file(o.model_config), o.model_config);
  const std::string name = o.arch.empty() ? model.config.architecture : o.arch;
  if (name.empty())
    throw UsageError(o.model_config.empty()
                         ? "--arch is needed: a built-in's name or a JSON file"
                         : o.model_config + ": its model_type is not one this program knows; give --arch");
  std::string known;
  for (const auto& a : builtin_architectures()) {
    if (a.name == name) {
      model.architecture = parse_architecture(a.json, "built-in " + name);
      return model;
    }
    known += " " + a.name;
  }
  if (!std::filesystem::exists(name))
    throw UsageError(fmt::format("--arch {}: neither a file nor one of{}", name, known));
  model.architecture = parse_architecture(read_file(name), name);
  return model;
}

void add_design_options(CLI::App& command, RunConfig& c, DesignOptions& o) {
  const std::string group = "Design";
  command.add_option("--embedding", c.embedding, "ppmi-svd, mobius, or a .npy/.safetensors file")
      ->capture_default_str()
      ->type_name("NAME|FILE")
      ->group(group);
  command.add_option("--embedding-tensor", c.embedding_tensor, "Its name in a safetensors file")
      ->type_name("NAME")
      ->group(group);
  command
      .add_option(
          "--recipe", o.recipe,
          "offset, spread, asymmetry, induction (experimental); to compare with: bigram-head, embedding, "
          "unigram, random, zero-proj, "
          "orthogonal, mimetic, invariants")
      ->capture_default_str()
      ->check(CLI::IsMember({"offset", "spread", "asymmetry", "bigram-head", "embedding", "unigram",
                             "induction", "random", "zero-proj", "orthogonal", "mimetic", "invariants"}))
      ->group(group);
  add_choice(command, "--expand", c.expand.method,
             {{"none", ExpandMethod::none},
              {"temper", ExpandMethod::temper},
              {"pareto", ExpandMethod::pareto},
              {"whiten", ExpandMethod::whiten},
              {"stack", ExpandMethod::stack}},
             "spread: how to expand the spectra")
      ->group(group);
  command.add_option("--pr-target", c.expand.pr_target, "Participation ratio to reach")
      ->capture_default_str()
      ->check(number_above_zero())
      ->group(group);
  command.add_option("--directions", o.directions, "keep, or haar: random directions (control)")
      ->capture_default_str()
      ->check(CLI::IsMember({"keep", "haar"}))
      ->group(group);
  command
      .add_option("--layer-lags", c.expand.layer_lags,
                  "Lag of each layer, e.g. 1,2,2,4 (default: layer l takes l+1)")
      ->delimiter(',')
      ->type_name("LIST")
      ->group(group);
  command
      .add_option("--stack-modes", c.expand.stack_modes, "stack: planes from each lag (0: d-model / 2 lags)")
      ->capture_default_str()
      ->check(number_from_zero())
      ->group(group);
  command
      .add_option("--stack-weights", c.expand.stack_weights,
                  "stack: weight of each lag (default: 1,1/2,1/3,...)")
      ->delimiter(',')
      ->type_name("LIST")
      ->group(group);
  command
      .add_option("--sign", o.sign,
                  "paper: M ~ +A, causal: M ~ -A (default: paper for asymmetry, causal for spread)")
      ->check(CLI::IsMember({"paper", "causal"}))
      ->group(group);
  command.add_option("--noise", c.compose.noise, "Usual random part added to what is injected, times this")
      ->capture_default_str()
      ->check(number_from_zero())
      ->group(group);
  command
      .add_option("--strength", c.compose.strength,
                  "Norm of the injected kernel relative to the random init's")
      ->capture_default_str()
      ->check(number_from_zero())
      ->group(group);
  command
      .add_option("--mimetic-key", c.compose.mimetic_key,
                  "mimetic: alpha of W_Q' W_K ~ alpha I (< 0: 0.7/sqrt(d))")
      ->capture_default_str()
      ->group(group);
  command.add_option("--mimetic-value", c.compose.mimetic_value, "mimetic: beta of W_O W_V ~ -beta I")
      ->capture_default_str()
      ->group(group);
  command
      .add_flag_callback(
          "--no-embedding", [&c] { c.compose.emit_embedding = false; }, "Leave the embedding out of the file")
      ->group(group);
  command
      .add_option("--null-tokens", c.null_tokens,
                  "Shuffled tokens for the null in spectra.json, at most; 0: none")
      ->capture_default_str()
      ->check(whole_number())
      ->group(group);
  add_choice(command, "--dtype", c.dtype, {{"f32", DType::f32}, {"f16", DType::f16}, {"bf16", DType::bf16}},
             "Type of the tensors written")
      ->group(group);
  command.add_option("--seed", c.seed, "Every random number follows from it")
      ->capture_default_str()
      ->check(whole_number())
      ->group(group);
}

void add_offset_options(CLI::App& command, OffsetConfig& c) {
  const std::string group = "Offset (recipes offset, bigram-head, embedding, unigram, induction)";
  OffsetParams& p = c.placement;
  add_choice(command, "--estimator", c.factors.estimator,
             {{"discriminant", Estimator::discriminant}, {"tucker", Estimator::tucker}},
             "How the maps are estimated")
      ->group(group);
  add_choice(command, "--control", c.control,
             {{"none", Control::none}, {"shuffled", Control::shuffled}, {"reversed", Control::reversed}},
             "Design from a shuffled or a reversed corpus instead")
      ->group(group);
  command.add_option("--offset-lags", p.lags, "Lags to design (default: one a layer, 8 at most)")
      ->check(CLI::Range(1, 64))
      ->type_name("N")
      ->group(group);
  command
      .add_option("--offset-layers", p.lag_layers,
                  "Layer of each lag (default: 0,0,1,1,..., with few heads 0,1,2,...)")
      ->delimiter(',')
      ->type_name("LIST")
      ->group(group);
  command
      .add_option("--source-dims", p.source_dims,
                  "Directions of the embedding that carry statistics (default: a quarter or half)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 31))
      ->type_name("N")
      ->group(group);
  command
      .add_option("--position-frequencies", p.position_frequencies,
                  "Frequencies in a table of positions (default: as few as suffice)")
      ->check(CLI::Range(1, 1024))
      ->type_name("N")
      ->group(group);
  const auto number = [&](const char* flag, auto& value, const char* help) {
    return command.add_option(flag, value, help)->check(number_above_zero())->type_name("X")->group(group);
  };
  number("--sharpness", p.sharpness, "How sharply designed heads look at their offset")
      ->capture_default_str();
  number("--write-norm", p.write_norm, "Norm of what designed heads write")->capture_default_str();
  number("--prior-sharpness", p.prior_sharpness,
         "Undesigned heads lean this much towards an offset of their own");
  command
      .add_option("--recency", p.recency,
                  "Scores of undesigned heads fall by this much from here to the far half of the context "
                  "(default: 4 for offset, 0 for its parts)")
      ->check(number_from_zero())
      ->type_name("X")
      ->group(group);
  add_choice(command, "--background", p.background,
             {{"random", Background::random},
              {"zero", Background::zero},
              {"orthogonal", Background::orthogonal},
              {"mimetic", Background::mimetic},
              {"invariants", Background::invariants}},
             "What undesigned heads start as")
      ->group(group);
  number("--alpha", c.factors.alpha,
         "discriminant: weight of the evidence (default: chosen on held-out tokens)");
  number("--kappa", c.factors.kappa, "Pseudo-counts (default: chosen on held-out tokens)");
  number("--ridge", c.factors.ridge, "discriminant: ridge (default: chosen on held-out tokens)");
  command
      .add_flag("--induction", p.induction,
                "offset: also a pair of heads that repeat what followed the token before (experimental)")
      ->group(group);
  command
      .add_flag("--zero-outputs", p.zero_outputs,
                "Output projections of all that is not designed start at zero, MLPs' too")
      ->group(group);
}

void settle(const CLI::App& command, RunConfig& c, const CountOptions& count, const DesignOptions& o) {
  c.compose.recipe = o.recipe;
  // The default would ignore these: whoever gives one has another recipe in mind.
  if (command.count("--recipe") == 0)
    for (const char* flag : {"--expand", "--pr-target", "--directions", "--layer-lags", "--stack-modes",
                             "--stack-weights", "--sign", "--noise", "--strength", "--embedding",
                             "--embedding-tensor", "--no-embedding", "--mimetic-key", "--mimetic-value"})
      if (command.count(flag) > 0)
        throw UsageError(fmt::format("{} is not for the default recipe, {}: say which one, --recipe {}", flag,
                                     o.recipe,
                                     std::string(flag).starts_with("--mimetic") ? "mimetic" : "spread"));
  c.lags = count.lags;
  c.strategy = count.strategy;
  c.backend = count.backend;
  c.gpu = count.gpu;
  c.threads = count.threads;
  c.memory_bytes = memory_budget(count.memory);
  c.device_bytes = device_memory_asked(count.device_memory);
  c.expand.directions = o.directions == "haar" ? Directions::haar : Directions::keep;
  const std::string sign = !o.sign.empty() ? o.sign : c.compose.recipe == "asymmetry" ? "paper" : "causal";
  c.compose.sign = sign == "paper" ? Sign::paper : Sign::causal;
  if (c.embedding != "ppmi-svd" && c.embedding != "mobius" && !std::filesystem::exists(c.embedding))
    throw UsageError(fmt::format("--embedding {}: not ppmi-svd, not mobius, and no such file", c.embedding));
}

}  // namespace aloft
