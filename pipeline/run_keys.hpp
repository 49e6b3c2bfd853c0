#pragma once
#include <initializer_list>
#include <string>

#include "pipeline/run_config.hpp"

// By what a run knows an artifact again: hashes of everything it was made from.

namespace aloft {

/// Key of an artifact made from these.
[[nodiscard]] std::string key_of(std::initializer_list<std::string> parts);

/// Which files, as they are now: enough to trust counts made from them without reading them again. Empty for
/// stdin.
[[nodiscard]] std::string inputs_fingerprint(const RunConfig& c);

}  // namespace aloft
