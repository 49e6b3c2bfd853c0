#include "host/corpus_files.hpp"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "host/atomic_file.hpp"
#include "host/error.hpp"
#include "host/json_text.hpp"
#include "host/plural.hpp"

namespace aloft {
namespace {

namespace fs = std::filesystem;

/// Whether `path` describes a token file beside it.
bool is_index(const std::string& path) {
  constexpr std::pair<std::string_view, std::string_view> kBeside[] = {
      {".idx", ".bin"}, {".ds.index", ".ds"}, {".ds.metadata", ".ds"}, {".ds.loss", ".ds"}};
  std::error_code absent;
  for (const auto& [index, tokens] : kBeside)
    if (path.ends_with(index) &&
        fs::exists(path.substr(0, path.size() - index.size()) + std::string(tokens), absent))
      return true;
  return false;
}

/// Whether `aloft init` has written, or is writing, into this folder.
bool is_run(const fs::path& folder) {
  std::error_code absent;
  return fs::exists(folder / ".aloft-state.json", absent) ||
         (fs::exists(folder / "manifest.json", absent) && fs::exists(folder / "init.safetensors", absent));
}

/// Paths of what a finished run has written into its folder, as its manifest lists it; none where there is
/// no such run.
std::vector<fs::path> files_of_run(const fs::path& folder) {
  std::error_code absent;
  if (!fs::is_regular_file(folder / "manifest.json", absent)) return {};
  const auto manifest = try_parse_json(read_file((folder / "manifest.json").string())).value_or(nullptr);
  const auto at = nlohmann::json::json_pointer("/manifest/files");
  if (!manifest.contains(at) || !manifest[at].is_object()) return {};
  std::vector<fs::path> out{folder / "manifest.json"};
  for (const auto& entry : manifest[at].items()) out.push_back(folder / entry.key());
  return out;
}

class FolderSearch {
 public:
  explicit FolderSearch(const CorpusSpec& spec) : spec_(spec), matched_(spec.exclude.size()) {}

  /// Appends the files in `folder` and a note.
  void search(const std::string& folder, CorpusFiles& out) {
    left_out_ = {};
    written_ = files_of_run(folder);
    written_.insert(written_.end(), spec_.outputs.begin(), spec_.outputs.end());
    std::vector<std::string> files;
    std::error_code failed;
    fs::recursive_directory_iterator at(folder, failed);
    for (; !failed && at != fs::recursive_directory_iterator(); at.increment(failed)) {
      std::error_code vanished;
      const bool is_folder = at->is_directory(vanished);
      const Reason reason = why_not(*at, folder, is_folder);
      if (is_folder && reason == kTaken) continue;
      if (is_folder) at.disable_recursion_pending();
      if (reason == kTaken)
        files.push_back(at->path().string());
      else
        ++left_out_[reason];
    }
    if (failed) throw InputError(folder + ": cannot read this folder: " + failed.message());
    if (files.empty())
      throw InputError(fmt::format("{}: is a folder without a file to read{}", folder, what_was_left_out()));
    std::sort(files.begin(), files.end());
    out.notes.push_back(fmt::format("{}: a folder, {} in the order of their names{}", folder,
                                    counted(files.size(), "file"), what_was_left_out()));
    for (std::string& path : files) out.files.push_back({std::move(path), true});
  }

  /// What was mistyped, perhaps.
  void note_unused(CorpusFiles& out) const {
    for (std::size_t k = 0; k < matched_.size(); ++k)
      if (!matched_[k])
        out.notes.push_back(fmt::format("--exclude '{}' matches nothing in a folder", spec_.exclude[k]));
  }

 private:
  enum Reason { kHidden, kExcluded, kIndex, kWritten, kRun, kNoFile, kTaken };

  Reason why_not(const fs::directory_entry& entry, const std::string& folder, bool is_folder) {
    std::error_code vanished;
    const fs::path& path = entry.path();
    if (path.filename().string().starts_with('.')) return kHidden;
    if (excluded(path, folder)) return kExcluded;
    if (is_folder) return entry.is_symlink(vanished) ? kNoFile : is_run(path) ? kRun : kTaken;
    if (!entry.is_regular_file(vanished)) return kNoFile;
    if (is_index(path.string())) return kIndex;
    return written(path) ? kWritten : kTaken;
  }
  bool excluded(const fs::path& path, const std::string& folder) {
    const std::string name = path.filename().string(), below = path.lexically_relative(folder).string();
    bool any = false;
    for (std::size_t k = 0; k < spec_.exclude.size(); ++k) {
      std::string pattern = spec_.exclude[k];
      if (pattern.size() > 1 && pattern.ends_with('/')) pattern.pop_back();
      const bool matches = ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0 ||
                           ::fnmatch(pattern.c_str(), below.c_str(), 0) == 0;
      matched_[k] = matched_[k] || matches;
      any = any || matches;
    }
    return any;
  }
  [[nodiscard]] bool written(const fs::path& path) const {
    std::error_code absent;
    return std::any_of(written_.begin(), written_.end(), [&](const fs::path& output) {
      return output.filename() == path.filename() && fs::equivalent(output, path, absent);
    });
  }
  [[nodiscard]] std::string what_was_left_out() const {
    constexpr std::array<const char*, kTaken> kNames{
        "hidden", "excluded", "index of ids", "of a run's output", "folder of a run", "no file"};
    std::size_t all = 0;
    std::string parts;
    for (std::size_t k = 0; k < left_out_.size(); ++k)
      if (left_out_[k] > 0) {
        all += left_out_[k];
        parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", left_out_[k], kNames[k]);
      }
    return all == 0 ? ""
                    : fmt::format("; {} left out: {}", all == 1 ? "1 is" : fmt::format("{} are", all), parts);
  }

  const CorpusSpec& spec_;
  std::vector<bool> matched_;  // of spec.exclude
  std::vector<fs::path> written_;
  std::array<std::size_t, kTaken> left_out_{};
};

}  // namespace

CorpusFiles corpus_files(const CorpusSpec& spec) {
  CorpusFiles out;
  FolderSearch folders(spec);
  for (const std::string& path : spec.paths) {
    std::error_code unknown;  // whoever opens it says what is wrong
    if (path == "-" || !fs::is_directory(path, unknown))
      out.files.push_back({path, false});
    else
      folders.search(path, out);
  }
  folders.note_unused(out);
  return out;
}

}  // namespace aloft
