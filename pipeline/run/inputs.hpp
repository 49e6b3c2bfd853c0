#pragma once
#include <string>

#include "pipeline/run/config.hpp"

namespace aloft {

/// Which files counts are made from, as they are now, and how: enough to trust counts made from them without
/// reading the corpus again. Empty for stdin.
[[nodiscard]] std::string inputs_fingerprint(const RunConfig& config);

}  // namespace aloft
