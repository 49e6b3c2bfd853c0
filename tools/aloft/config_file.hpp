#pragma once
#include <string>
#include <utility>
#include <vector>

namespace CLI {
class App;
}

namespace aloft {

/// A YAML (or JSON) config as command-line words for `command`: keys are its long flags without dashes, a
/// list repeats the flag, `true` gives a bare flag. The key `manifest` (what a finished run recorded of
/// itself) is skipped. Keys that are already on the command line are left out, so flags win (and a corpus
/// given there also replaces the config's corpus hash). Throws InputError naming file, line and key.
[[nodiscard]] std::vector<std::string> config_words(const std::string& path, const CLI::App& command);

/// The options of `command` that differ from nothing: every long flag with its value, given or default, as
/// one JSON object text; `left_out` are not part of what was asked for. Paths become absolute. Throws
/// UsageError for a value that is not UTF-8, which no manifest can hold.
[[nodiscard]] std::string settings_json(const CLI::App& command, const std::vector<std::string>& left_out,
                                        const std::vector<std::string>& paths);

}  // namespace aloft
