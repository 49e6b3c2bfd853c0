#include "pipeline/run_config.hpp"

#include <fmt/format.h>

#include "host/error.hpp"

namespace aloft {

ExpandParams expand_params(const RunConfig& config, const ModelShape& shape) {
  ExpandParams p = config.expand;
  p.seed = config.seed;
  if (p.layer_lags.empty()) p.layer_lags = default_layer_lags(shape.layers, config.lags);
  if (p.layer_lags.size() != static_cast<std::size_t>(shape.layers))
    throw UsageError(
        fmt::format("--layer-lags names {} lags for {} layers", p.layer_lags.size(), shape.layers));
  for (const std::int32_t lag : p.layer_lags)
    if (lag < 1 || lag > config.lags)
      throw UsageError(fmt::format("--layer-lags: lag {} is not among 1..{}", lag, config.lags));
  if (config.compose.recipe == "asymmetry") {  // the paper's own: A_1 as it is, in every layer
    p.method = ExpandMethod::none;
    p.layer_lags.assign(static_cast<std::size_t>(shape.layers), 1);
  }
  if (p.method == ExpandMethod::stack && !p.stack_weights.empty() &&
      p.stack_weights.size() != static_cast<std::size_t>(config.lags))
    throw UsageError(fmt::format("--stack-weights names {} weights for {} lags: give one for each",
                                 p.stack_weights.size(), config.lags));
  const std::int64_t rank = shape.d_model / 2 * 2;  // of an antisymmetric matrix, at most
  if (p.method != ExpandMethod::none && p.pr_target > static_cast<double>(rank))
    throw UsageError(fmt::format("--pr-target {} is above the rank that a width of {} allows, {}",
                                 p.pr_target, shape.d_model, rank));
  return p;
}

namespace {

/// Names of the tables [vocab or context, d], which no orientation transposes.
std::string table_names(const Architecture& arch) {
  std::string out = arch.embedding;
  for (const std::string* name : {&arch.head, &arch.position_embedding})
    if (!name->empty()) out += " " + *name;
  return out;
}

}  // namespace

std::map<std::string, std::string> provenance(const RunConfig& config, const Architecture& arch,
                                              const std::string& corpus_hash) {
  std::map<std::string, std::string> m{
      {"producer", "aloft"},
      {"architecture", arch.name},
      {"recipe", config.compose.recipe},
      {"seed", std::to_string(config.seed)},
      // what a loader must know to serve models of the other orientation
      {"orientation", arch.orientation == Architecture::Orientation::out_in ? "out_in" : "in_out"},
      {"tables", table_names(arch)},
      {"tied_head", arch.tied_head ? "true" : "false"}};
  if (!corpus_hash.empty()) m["corpus_hash"] = corpus_hash;
  return m;
}

}  // namespace aloft
