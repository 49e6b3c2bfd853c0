#pragma once
#include <map>

#include "pipeline/recipes/embedding_rows.hpp"
#include "pipeline/recipes/recipe.hpp"

namespace aloft {

/// Every layer of a recipe that is one function a layer, for tests that have no run: from expanded spectra
/// and an embedding, where it reads a corpus.
inline Composition compose(Context& ctx, const ComposeParams& p, const ModelShape& shape,
                           const ExpandedSpectra* expanded, const Embedding* embedding) {
  static const std::map<std::string_view, recipes::LayerFunction> functions{
      {"asymmetry", recipes::design_injection},   {"spread", recipes::design_injection},
      {"invariants", recipes::design_invariants}, {"mimetic", recipes::design_mimetic},
      {"orthogonal", recipes::design_orthogonal}, {"random", recipes::design_random},
      {"zero-proj", recipes::design_zero_proj}};
  const Recipe& recipe = find_recipe(p.recipe);
  Composition out = recipes::compose_layers(ctx, functions.at(recipe.name), {p, shape, expanded});
  if (embedding != nullptr && recipe.reads_corpus() && p.emit_embedding)
    out.weights.embedding = recipes::embedding_rows(ctx, p, shape, *embedding);
  return out;
}

}  // namespace aloft
