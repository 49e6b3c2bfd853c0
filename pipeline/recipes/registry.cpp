#include "pipeline/recipes/registry.hpp"

#include <fmt/format.h>

namespace aloft {

const std::vector<Recipe>& all_recipes() {
  static const std::vector<Recipe> all{
      recipes::offset_recipe(),     recipes::bigram_head_recipe(), recipes::embedding_recipe(),
      recipes::unigram_recipe(),    recipes::induction_recipe(),   recipes::spread_recipe(),
      recipes::asymmetry_recipe(),  recipes::random_recipe(),      recipes::zero_proj_recipe(),
      recipes::orthogonal_recipe(), recipes::mimetic_recipe(),     recipes::invariants_recipe(),
  };
  return all;
}

const Recipe& find_recipe(std::string_view name) {
  std::string known;
  for (const Recipe& r : all_recipes()) {
    if (r.name == name) return r;
    known += (known.empty() ? "" : ", ") + std::string(r.name);
  }
  throw UsageError(fmt::format("no recipe is called '{}': use one of {}", name, known));
}

}  // namespace aloft
