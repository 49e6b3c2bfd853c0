#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "host/atomic_file.hpp"
#include "host/error.hpp"
#include "pipeline/model/model_types.hpp"
#include "tools/aloft/builtin_architectures.hpp"
#include "tools/aloft/flag_kinds.hpp"
#include "tools/aloft/options.hpp"

namespace aloft {

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

std::vector<Architecture> parsed_built_ins() {
  std::vector<Architecture> out;
  for (const auto& a : builtin_architectures())
    out.push_back(parse_architecture(a.json, "built-in " + a.name));
  return out;
}

Model load_model(const ModelOptions& o) {
  const std::vector<Architecture> built_in = parsed_built_ins();
  Model model;
  if (!o.model_config.empty())
    model.config = parse_model_config(read_file(o.model_config), o.model_config, built_in);
  if (o.arch.empty() && o.model_config.empty())
    throw UsageError("--arch is needed: a built-in's name or a JSON file");
  const std::string name = o.arch.empty() ? architecture_of(model.config, built_in) : o.arch;
  const auto found =
      std::find_if(built_in.begin(), built_in.end(), [&](const Architecture& a) { return a.name == name; });
  if (found != built_in.end()) {
    model.architecture = *found;
  } else {
    std::string known;
    for (const Architecture& a : built_in) known += " " + a.name;
    if (!std::filesystem::exists(name))
      throw UsageError(fmt::format("--arch {}: neither a file nor one of{}", name, known));
    model.architecture = parse_architecture(read_file(name), name);
  }
  model.notes = check_model_type(model.config, {model.architecture, name, found != built_in.end()}, built_in);
  return model;
}

}  // namespace aloft
