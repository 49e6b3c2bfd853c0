#include <fmt/format.h>

#include <array>
#include <cmath>
#include <string_view>

#include "pipeline/recipes/recipe.hpp"
#include "pipeline/recipes/usual_init.hpp"
#include "pipeline/stages.hpp"

namespace aloft {
namespace {

struct Recipe {
  std::string_view name;
  bool reads_corpus;
  recipes::LayerDesign (*design)(Context&, const recipes::RecipeInput&, std::int64_t layer);
};

/// asymmetry and spread differ in what expand() was asked for: the same lag in every layer, or a lag for each
/// depth.
constexpr std::array<Recipe, 7> kRecipes{{
    {"asymmetry", true, recipes::design_injection},
    {"spread", true, recipes::design_injection},
    {"invariants", false, recipes::design_invariants},
    {"mimetic", false, recipes::design_mimetic},
    {"orthogonal", false, recipes::design_orthogonal},
    {"random", false, recipes::design_random},
    {"zero-proj", false, recipes::design_zero_proj},
}};

const Recipe& find_recipe(const std::string& name) {
  std::string known;
  for (const Recipe& r : kRecipes) {
    if (r.name == name) return r;
    known += (known.empty() ? "" : ", ") + std::string(r.name);
  }
  throw UsageError(fmt::format("no recipe is called '{}': use one of {}", name, known));
}

void check_number(const char* what, double value, bool zero_allowed) {
  if (!std::isfinite(value) || value < 0 || (value == 0 && !zero_allowed))
    throw UsageError(
        fmt::format("{} is {}: give a finite number {} 0", what, value, zero_allowed ? ">=" : ">"));
}

void check(const ComposeParams& p, const ModelShape& s) {
  check_number("init_std", p.init_std, false);
  check_number("noise", p.noise, true);
  check_number("strength", p.strength, true);
  check_number("mimetic_value", p.mimetic_value, true);
  check_number("mimetic_value_noise", p.mimetic_value_noise, true);
  if (!std::isfinite(p.mimetic_key)) throw UsageError("mimetic_key is not a finite number");
  if (s.layers <= 0 || s.heads <= 0 || s.kv_heads <= 0 || s.head_dim <= 0 || s.d_model <= 0 || s.vocab <= 0)
    throw UsageError(fmt::format(
        "a model of {} layers, {} heads, {} kv heads, head_dim {}, d {}, vocabulary {} cannot be: "
        "all must be positive",
        s.layers, s.heads, s.kv_heads, s.head_dim, s.d_model, s.vocab));
  if (s.heads % s.kv_heads != 0)
    throw UsageError(fmt::format("{} heads cannot share {} kv heads evenly", s.heads, s.kv_heads));
  if (s.rotary_dim < 0 || s.rotary_dim > s.head_dim || s.rotary_dim % 2 != 0)
    throw UsageError(
        fmt::format("rotary_dim {} must be even and at most head_dim, here {}", s.rotary_dim, s.head_dim));
}

}  // namespace

bool recipe_reads_corpus(const std::string& recipe) { return find_recipe(recipe).reads_corpus; }

Composition compose(Context& ctx, const ComposeParams& p, const ModelShape& shape,
                    const ExpandedSpectra* expanded, const Embedding* embedding) {
  const Recipe& recipe = find_recipe(p.recipe);
  check(p, shape);
  const bool carries_embedding = recipe.reads_corpus && p.emit_embedding;
  expects(!recipe.reads_corpus || expanded != nullptr, "this recipe needs the expanded spectra");
  expects(!carries_embedding || embedding != nullptr, "this recipe needs the embedding");

  const recipes::RecipeInput input{p, shape, expanded};
  Composition out;
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    ctx.check_interrupt();
    recipes::LayerDesign design = recipe.design(ctx, input, layer);
    out.weights.layers.push_back(std::move(design.heads));
    out.layers.push_back(std::move(design.figures));
    const auto done = static_cast<std::uint64_t>(layer) + 1;
    ctx.progress().update("compose", static_cast<double>(done), static_cast<double>(shape.layers), done,
                          "layers");
  }
  if (carries_embedding) out.weights.embedding = recipes::embedding_rows(ctx, p, shape, *embedding);
  return out;
}

}  // namespace aloft
