#pragma once
#include <string>
#include <vector>

#include "pipeline/model/model_config.hpp"

// Whether the model that a config.json describes is one that an architecture fits. A design that does not fit
// loads without complaint and is worth nothing.

namespace aloft {

/// What was chosen for a config: a built-in of that name, or the user's own file.
struct ChosenArchitecture {
  const Architecture& architecture;
  std::string name;  ///< as given to --arch
  bool built_in = true;
};

/// The name of the built-in that the config's model_type belongs to. Throws UsageError saying what is known
/// where it is unknown, and why where it fits none.
[[nodiscard]] std::string architecture_of(const ModelConfig& config,
                                          const std::vector<Architecture>& built_in);

/// Throws UsageError naming what the model has and the architecture has not, and InputError for fields that
/// no architecture allows. Returns what a user should know: the config's notes, and that an unknown type was
/// taken on trust.
[[nodiscard]] std::vector<std::string> check_model_type(const ModelConfig& config,
                                                        const ChosenArchitecture& chosen,
                                                        const std::vector<Architecture>& built_in);

/// Why a run that names no architecture refuses the config; "": it does not.
[[nodiscard]] std::string why_refused(const ModelConfig& config, const std::vector<Architecture>& built_in);

}  // namespace aloft
