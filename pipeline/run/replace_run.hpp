#pragma once
#include <string>
#include <vector>

namespace aloft {

inline constexpr const char* kManifestFile = "manifest.json";
inline constexpr const char* kStateFile = ".aloft-state.json";

/// Whether the folder `from` holds a finished run.
[[nodiscard]] bool is_finished(const std::string& folder);
/// The finished run in `from` takes the place of what `names`, all that a run may write, are in `to`; then
/// `from` goes. It may be interrupted anywhere: `from` holds a manifest until all is done, and calling this
/// again does the rest. Between, `to` has no manifest. Throws InputError when a file cannot be moved, or is
/// in neither folder.
void replace_run(const std::string& from, const std::string& to, const std::vector<std::string>& names);
/// Removes what a run may have left in `folder`: state, manifest, `names` and half-written ones.
void discard_run(const std::string& folder, const std::vector<std::string>& names);

}  // namespace aloft
