#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "host/error.hpp"
#include "pipeline/recipes/recipe.hpp"
#include "tools/aloft/flag_kinds.hpp"
#include "tools/aloft/memory_size.hpp"
#include "tools/aloft/options.hpp"

// Flags of what is designed. Which recipe each belongs to is said by the recipes themselves
// (pipeline/recipes/recipe.hpp); list, help and refusals here are made from that.

namespace aloft {
namespace {

bool among(const std::vector<std::string_view>& flags, std::string_view flag) {
  return std::find(flags.begin(), flags.end(), flag) != flags.end();
}

std::vector<std::string> recipe_names() {
  std::vector<std::string> out;
  for (const Recipe& r : all_recipes()) out.emplace_back(r.name);
  return out;
}

/// The recipes that a flag is for, as people call them.
std::string users_of(std::string_view flag) {
  std::string out;
  std::size_t parts = 0, all_parts = 0;
  for (const Recipe& r : all_recipes()) {
    const bool uses = among(r.flags, flag), part = r.purpose == Purpose::part;
    all_parts += part;
    parts += uses && part;
    if (uses) out += (out.empty() ? "" : ", ") + std::string(r.name);
  }
  return parts == all_parts && all_parts > 0 ? "offset and its parts" : out;
}

void refuse_foreign_flags(const CLI::App& command, const Recipe& recipe) {
  for (const std::string& flag : foreign_flags(recipe)) {
    if (command.count("--" + flag) == 0) continue;
    const std::string users = users_of(flag), first = users.substr(0, users.find(','));
    // Whoever gives one has another recipe in mind than the default.
    if (command.count("--recipe") == 0)
      throw UsageError(fmt::format("--{} is not for the default recipe, {}: say which one, --recipe {}", flag,
                                   recipe.name, first));
    throw UsageError(fmt::format("--{} is not for recipe {}, but for {}", flag, recipe.name, users));
  }
}

/// Embedding and spectra: the papers' recipes.
void add_spectral_options(CLI::App& command, RunConfig& c, DesignOptions& o, const std::string& group) {
  command.add_option("--embedding", c.embed.method, "ppmi-svd, mobius, or a .npy/.safetensors file")
      ->capture_default_str()
      ->type_name("NAME|FILE")
      ->group(group);
  command.add_option("--embedding-tensor", c.embed.tensor, "Its name in a safetensors file")
      ->type_name("NAME")
      ->group(group);
  add_choice(command, "--expand", c.expand.method,
             {{"none", ExpandMethod::none},
              {"temper", ExpandMethod::temper},
              {"pareto", ExpandMethod::pareto},
              {"whiten", ExpandMethod::whiten},
              {"stack", ExpandMethod::stack}},
             "How to expand the spectra")
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
      .add_option("--stack-modes", c.expand.stack_modes,
                  "--expand stack: planes from each lag (0: d-model / 2 lags)")
      ->capture_default_str()
      ->check(number_from_zero())
      ->group(group);
  command
      .add_option("--stack-weights", c.expand.stack_weights,
                  "--expand stack: weight of each lag (default: 1,1/2,1/3,...)")
      ->delimiter(',')
      ->type_name("LIST")
      ->group(group);
  command
      .add_option("--sign", o.sign,
                  "paper: M ~ +A, causal: M ~ -A (default: paper for asymmetry, causal for spread)")
      ->check(CLI::IsMember({"paper", "causal"}))
      ->group(group);
}

}  // namespace

void add_design_options(CLI::App& command, RunConfig& c, DesignOptions& o) {
  const std::string group = "Design";
  command.add_option("--recipe", o.recipe, fmt::format("{} (listed below)", fmt::join(recipe_names(), ", ")))
      ->capture_default_str()
      ->check(one_of(recipe_names()))
      ->type_name("NAME")
      ->group(group);
  add_spectral_options(command, c, o, group);
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
      .add_option("--mimetic-key", c.compose.mimetic_key, "Alpha of W_Q' W_K ~ alpha I (< 0: 0.7/sqrt(d))")
      ->capture_default_str()
      ->group(group);
  command.add_option("--mimetic-value", c.compose.mimetic_value, "Beta of W_O W_V ~ -beta I")
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
  command
      .add_option("--stream-scale", c.compose.stream_scale,
                  "All that is written to the residual stream by design times this, and the embedding "
                  "(default for offset and its parts: sqrt(d) where the head is tied, else 1, and more in "
                  "wide or deep "
                  "models, as `aloft plan` says; for other recipes 1)")
      ->check(number_above_zero())
      ->check(CLI::Range(0.01, 1e4))
      ->type_name("X")
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
  const std::string group = "Offset";
  OffsetParams& p = c.placement;
  add_choice<std::optional<Estimator>>(
      command, "--estimator", c.estimator,
      {{"auto", std::nullopt}, {"discriminant", Estimator::discriminant}, {"tucker", Estimator::tucker}},
      "How the maps are estimated (auto: tucker where there are more than 32 ids for each coordinate)")
      ->group(group);
  add_choice(command, "--control", c.control,
             {{"none", Control::none}, {"shuffled", Control::shuffled}, {"reversed", Control::reversed}},
             "Design from a shuffled or a reversed corpus instead")
      ->group(group);
  command
      .add_option("--offset-lags", p.lags,
                  "Lags to design (default: one a layer, 8 at most, 4 where ids are many)")
      ->check(CLI::Range(1, 64))
      ->type_name("N")
      ->group(group);
  command
      .add_option("--offset-layers", p.lag_layers,
                  "Layer of each lag (default: 0,0,1,1,..., with few heads or many ids 0,1,2,...)")
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
         "--estimator discriminant: weight of the evidence (default: chosen on held-out tokens)");
  number("--kappa", c.factors.kappa, "Pseudo-counts (default: chosen on held-out tokens)");
  number("--ridge", c.factors.ridge, "--estimator discriminant: ridge (default: chosen on held-out tokens)");
  command
      .add_flag("--induction", p.induction,
                "Also a pair of heads that repeat what followed the token before (experimental)")
      ->group(group);
  command
      .add_flag("--zero-outputs", p.zero_outputs,
                "Output projections of all that is not designed start at zero, MLPs' too")
      ->group(group);
}

std::vector<std::string> foreign_flags(const Recipe& recipe) {
  std::vector<std::string> out;
  for (const Recipe& other : all_recipes())
    for (const std::string_view flag : other.flags)
      if (!among(recipe.flags, flag) && std::find(out.begin(), out.end(), flag) == out.end())
        out.emplace_back(flag);
  return out;
}

void describe_recipes(CLI::App& command) {
  for (const Recipe& recipe : all_recipes())
    for (const std::string_view flag : recipe.flags) {
      CLI::Option* option = find_option(command, "--" + std::string(flag));
      expects(option != nullptr, "a recipe names flags that there are");
      const std::string users = " [" + users_of(flag) + "]";
      if (!option->get_description().ends_with(users)) option->description(option->get_description() + users);
    }
  std::string list = "Recipes:\n";
  for (const Recipe& recipe : all_recipes()) list += fmt::format("  {:<14}{}\n", recipe.name, recipe.summary);
  command.footer(list + "\n");
}

namespace {

/// What is said of a corpus says nothing of counts that were made before. Defaults pass: manifests list them.
void refuse_corpus_flags_beside_counts(const CLI::App& command, const RunConfig& c) {
  if (c.counts_file.empty()) return;
  if (!c.corpus.paths.empty()) throw UsageError("--counts and --corpus: give one of them");
  for (const char* flag : {"--exclude", "--format", "--tokenizer", "--vocab-size", "--vocabulary",
                           "--doc-sep-id", "--doc-sep", "--utf8", "--strategy"}) {
    const CLI::Option* option = find_option(command, flag);
    if (option == nullptr || option->count() == 0) continue;
    if (option->results().size() == 1 && option->results().front() == option->get_default_str()) continue;
    throw UsageError(fmt::format(
        "--counts and {0}: what {1} holds was counted already, so {0} changes nothing; leave it out", flag,
        c.counts_file));
  }
}

}  // namespace

void settle(const CLI::App& command, RunConfig& c, const CountOptions& count, const DesignOptions& o) {
  c.compose.recipe = o.recipe;
  refuse_foreign_flags(command, find_recipe(o.recipe));
  refuse_corpus_flags_beside_counts(command, c);
  c.lags = count.lags;
  c.strategy = count.strategy;
  c.backend = count.backend;
  c.gpu = count.gpu;
  c.threads = count.threads;
  const MemoryBudget memory = memory_budget(count.memory, count.threads);
  c.memory_bytes = memory.bytes;
  c.memory_limit = memory.limit;
  c.memory_warning = memory.warning;
  c.device_bytes = device_memory_asked(count.device_memory);
  c.expand.directions = o.directions == "haar" ? Directions::haar : Directions::keep;
  const std::string sign = !o.sign.empty() ? o.sign : c.compose.recipe == "asymmetry" ? "paper" : "causal";
  c.compose.sign = sign == "paper" ? Sign::paper : Sign::causal;
  if (from_file(c.embed) && !std::filesystem::exists(c.embed.method))
    throw UsageError(
        fmt::format("--embedding {}: not ppmi-svd, not mobius, and no such file", c.embed.method));
}

}  // namespace aloft
