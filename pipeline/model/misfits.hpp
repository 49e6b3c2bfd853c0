#pragma once
#include <string>
#include <vector>

#include "pipeline/model/traits.hpp"

namespace aloft {

/// Types of Hugging Face's config.json whose models no built-in architecture fits, and what they have that
/// decides it.
struct Misfit {
  std::vector<Trait> traits;
  std::vector<const char*> types;
};
/// Null where the type is none that is known not to fit.
[[nodiscard]] const Misfit* misfit_of(const std::string& type);

}  // namespace aloft
