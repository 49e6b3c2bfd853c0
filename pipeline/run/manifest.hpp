#pragma once
#include <string>
#include <string_view>

#include "pipeline/run/folder.hpp"
#include "pipeline/run/run.hpp"

namespace aloft {

/// manifest.json of a finished run: `settings` (the flags as an object, so that the manifest is itself a
/// config) with the corpus hash that they are for, and under `manifest` what happened: corpus, model, stage
/// times, and every file with its size and hash. Also lists those files in `outcome.files`.
[[nodiscard]] std::string manifest_text(const std::string& settings, RunOutcome& outcome,
                                        std::string_view backend, const RunFolder& folder);

}  // namespace aloft
