#pragma once
#include <nlohmann/json_fwd.hpp>

#include "pipeline/base/json_fields.hpp"
#include "pipeline/model/model_config.hpp"

namespace aloft {

/// The fields of one JSON object of a config.json (or of a model_type's defaults), as they stand: nothing is
/// derived, nothing filled in. `object` is what `fields` reads. Throws InputError naming the field.
[[nodiscard]] ModelConfig read_config_fields(const nlohmann::json& object, JsonFields& fields);

/// The keys of a config.json that say one thing about what is computed, under the names that families give
/// it.
struct Peculiarity {
  std::vector<const char*> keys;
  std::vector<nlohmann::json> usual;  ///< values that change nothing; null and absence never do
};
[[nodiscard]] const std::vector<Peculiarity>& peculiarities();

/// Whether the object gives one of those keys a value that changes something; its key, or nullptr.
[[nodiscard]] const char* found(const Peculiarity& p, const nlohmann::json& object);

}  // namespace aloft
