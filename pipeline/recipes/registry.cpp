#include <fmt/format.h>

#include "pipeline/recipes/recipe.hpp"

// Each recipe says of itself what it is, in the file of its name; here they are listed.

namespace aloft {
namespace recipes {

Recipe offset_recipe();  // offset.cpp, with the parts of it
Recipe bigram_head_recipe();
Recipe embedding_recipe();
Recipe unigram_recipe();
Recipe induction_recipe();
Recipe spread_recipe();  // spread.cpp
Recipe asymmetry_recipe();
Recipe random_recipe();  // random.cpp
Recipe zero_proj_recipe();
Recipe orthogonal_recipe();  // orthogonal.cpp
Recipe mimetic_recipe();     // mimetic.cpp
Recipe invariants_recipe();  // invariants.cpp

}  // namespace recipes

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
