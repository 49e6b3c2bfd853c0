#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/ops.hpp"
#include "pipeline/base/plan.hpp"
#include "pipeline/counts/counts.hpp"
#include "pipeline/model/architecture.hpp"
#include "pipeline/model/composition.hpp"
#include "pipeline/recipes/params.hpp"
#include "pipeline/spectra/spectra.hpp"

// The page to begin with for recipes. A recipe turns what a run was asked for, and mostly a corpus, into the
// tensors of one model. Everything the program says of it (list, help, flags, plan, files, documentation) is
// read from its Recipe below. A new one is a file here and a line in registry.cpp.

namespace aloft {

struct Recipe;

/// Every run ends with these two; recipes choose what comes before, and their report.
inline constexpr Stage kCompose{.name = "compose"};
inline constexpr Stage kEmit{.name = "emit", .more_files = {"init.safetensors", "heads.safetensors"}};

/// What a run was asked to design, and for which model.
struct DesignRequest {
  const Recipe& recipe;
  const DesignParams& params;
  const Architecture& arch;
  const ModelShape& shape;
  std::int32_t lags = 8;          ///< counted
  std::int64_t corpus_vocab = 1;  ///< ids of the corpus
};

/// What a plan is made from, and where its rows go.
struct PlanRequest {
  const DesignRequest& design;
  Planner& rows;
  const Backend& backend;
  const CountsShape& counts;    ///< of the corpus, as it will be
  const CountParams& counting;  ///< of the corpus: memory allowed, tokens expected
  CountParams& null;            ///< set by recipes that count a null: the memory that remains for it
  DType dtype = DType::f32;
  bool save_heads = false;
};

struct Design {
  Composition composition;
  std::vector<LayerExpansion> expansions;  ///< [layers]; empty when nothing is injected
  std::vector<double> corpus_pr;           ///< [lags] energy participation ratio of A_n; empty likewise
  /// Text of the recipe's report. It may take a while (a null is counted), so it is made when asked, after
  /// the tensors are written. Empty: no report.
  std::function<std::string()> report;
};

/// What a run lends to a recipe while it designs.
struct DesignRun {
  Context& ctx;
  Stages& stages;
  const std::function<void(const std::string&)>& note;  ///< one line for the user
  std::uint64_t memory_bytes = 0;                       ///< that embed_mobius() may take; 0: no limit
  CountParams null;                                     ///< as the plan set it
};

enum class Purpose { design, paper, part, baseline };

struct Recipe {
  std::string_view name;
  std::string_view summary;  ///< one line
  Purpose purpose = Purpose::baseline;
  std::vector<std::string_view> flags{};  ///< those of init's that change what it does, without dashes
  std::vector<Stage> stages{};            ///< in order; kCount first where it reads a corpus
  /// Throws UsageError or InputError for what can be known to fail before hours of counting. May be null.
  void (*check)(Context&, const DesignRequest&) = nullptr;
  /// One row for each of its stages but kCount. Throws UsageError when the model cannot host the recipe.
  void (*plan)(const PlanRequest&) = nullptr;
  /// counts: null where it reads no corpus; may be emptied once nothing reads them any more.
  Design (*design)(DesignRun&, const DesignRequest&, Keyed<Counts>*) = nullptr;

  bool reads_holdout = false;  ///< its scalars are chosen on the slice that the counts hold
  /// Of the stream, where nobody says otherwise; null: 1, the usual init's (stream_scale.hpp).
  double (*stream_scale)(const DesignRequest&) = nullptr;
  bool designs_outputs = false;  ///< its W_O are made for what the stream holds, not drawn

  [[nodiscard]] bool reads_corpus() const { return !stages.empty() && stages.front().name == kCount.name; }
};

/// All of them, in the order people should read about them.
[[nodiscard]] const std::vector<Recipe>& all_recipes();
/// Throws UsageError naming those that there are.
[[nodiscard]] const Recipe& find_recipe(std::string_view name);

// ---- layer by layer (recipes without a corpus, and the papers')

namespace recipes {

struct RecipeInput {
  const ComposeParams& params;
  const ModelShape& shape;
  const ExpandedSpectra* expanded = nullptr;  ///< null for recipes that read no corpus
};
struct LayerDesign {
  LayerHeads heads;
  LayerComposition figures;
};
/// One layer's heads. It keeps no state: layers can be designed in any order, and layer l is the same in a
/// model of any depth (but for W_O's 1/√(2·layers)).
using LayerFunction = LayerDesign (*)(Context&, const RecipeInput&, std::int64_t layer);

[[nodiscard]] LayerDesign design_random(Context& ctx, const RecipeInput& in, std::int64_t layer);
[[nodiscard]] LayerDesign design_zero_proj(Context& ctx, const RecipeInput& in, std::int64_t layer);
[[nodiscard]] LayerDesign design_injection(Context& ctx, const RecipeInput& in, std::int64_t layer);
[[nodiscard]] LayerDesign design_invariants(Context& ctx, const RecipeInput& in, std::int64_t layer);
[[nodiscard]] LayerDesign design_mimetic(Context& ctx, const RecipeInput& in, std::int64_t layer);
[[nodiscard]] LayerDesign design_orthogonal(Context& ctx, const RecipeInput& in, std::int64_t layer);

/// What designing one layer takes: its heads, and all that is worked with.
using LayerMemory = Peak (*)(const LinearOps&, const ModelShape&);

[[nodiscard]] Peak random_memory(const LinearOps& ops, const ModelShape& shape);  ///< and of design_zero_proj
[[nodiscard]] Peak injection_memory(const LinearOps& ops, const ModelShape& shape);
[[nodiscard]] Peak invariants_memory(const LinearOps& ops, const ModelShape& shape);
[[nodiscard]] Peak mimetic_memory(const LinearOps& ops, const ModelShape& shape);
[[nodiscard]] Peak orthogonal_memory(const LinearOps& ops, const ModelShape& shape);

/// spread: lag of each layer where nobody says otherwise: layer l takes lag l + 1, the last lag repeats.
[[nodiscard]] std::vector<std::int32_t> default_layer_lags(std::int64_t layers, std::int32_t lags);

/// Every layer in turn. Throws UsageError for parameters or sizes that cannot be.
[[nodiscard]] Composition compose_layers(Context& ctx, LayerFunction design, const RecipeInput& in);

/// The usual way of a recipe that reads no corpus: kCompose runs one LayerFunction, and attention is all that
/// is written where the stream has its usual scale.
[[nodiscard]] Design design_attention(DesignRun& run, const DesignRequest& request, LayerFunction layer);
template <LayerFunction layer>
Design design_layers(DesignRun& run, const DesignRequest& request, Keyed<Counts>*) {
  return design_attention(run, request, layer);
}
void plan_attention(const PlanRequest& request, LayerMemory layer);
/// Its plan.
template <LayerMemory layer>
void plan_layers(const PlanRequest& request) {
  plan_attention(request, layer);
}

}  // namespace recipes
}  // namespace aloft
