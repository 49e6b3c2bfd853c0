#include "pipeline/run/config.hpp"

#include <fmt/format.h>

namespace aloft {

DesignParams design_params(const RunConfig& config, const ModelFlags& flags, const Architecture& arch) {
  DesignParams out = config;
  out.embed.seed = out.expand.seed = out.compose.seed = config.seed;
  out.compose.init_std = flags.init_std.value_or(arch.init_std);
  out.compose.residual_scaled = arch.init_residual_scaled;
  out.compose.embedding_multiplier = arch.embedding_multiplier;
  out.compose.residual_multiplier = arch.residual_multiplier;
  out.compose.logits_multiplier = arch.logits_multiplier;
  out.compose.score_scale = arch.score_scale;
  return out;
}

namespace {

/// Names of the tables [vocab or context, d], which no orientation transposes.
std::string table_names(const Architecture& arch) {
  std::string out = arch.embedding;
  for (const std::string* name : {&arch.head, &arch.position_embedding})
    if (!name->empty()) out += " " + *name;
  return out;
}

/// "none", or the kind of scaling and by how much: "llama3 8". Within its context "dynamic" scales nothing.
std::string scaling_name(const RopeScaling& s) {
  if (s.type == "none" || s.type == "dynamic") return "none";
  return s.type == "longrope" ? s.type : fmt::format("{} {}", s.type, s.factor);
}

}  // namespace

std::map<std::string, std::string> provenance(const RunConfig& config, const Architecture& arch,
                                              const ModelShape& shape, const std::string& corpus_hash) {
  std::map<std::string, std::string> m{
      {"producer", "aloft"},
      {"architecture", arch.name},
      {"recipe", config.compose.recipe},
      {"seed", std::to_string(config.seed)},
      // what a loader must know to serve models of the other orientation
      {"orientation", arch.orientation == Architecture::Orientation::out_in ? "out_in" : "in_out"},
      {"tables", table_names(arch)},
      {"tied_head", arch.tied_head ? "true" : "false"},
      // the same shapes mean something else to a model of other heads
      {"heads", std::to_string(shape.heads)},
      {"kv_heads", std::to_string(shape.kv_heads)}};
  if (arch.position == Architecture::Position::rope) {
    m["rope_base"] = fmt::format("{}", shape.rope_base);
    m["rope_scaling"] = scaling_name(arch.rope_scaling);
  }
  if (!corpus_hash.empty()) m["corpus_hash"] = corpus_hash;
  return m;
}

}  // namespace aloft
