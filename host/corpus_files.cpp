#include "host/corpus_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "host/error.hpp"

namespace aloft {
namespace {

namespace fs = std::filesystem;

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

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

struct Found {
  std::vector<std::string> files;
  std::size_t left_out = 0;
};

Found files_in(const std::string& folder) {
  Found out;
  std::error_code failed;
  fs::recursive_directory_iterator at(folder, failed);
  for (; !failed && at != fs::recursive_directory_iterator(); at.increment(failed)) {
    std::error_code vanished;
    const bool is_folder = at->is_directory(vanished);
    if (is_folder && !is_hidden(at->path()) && !at->is_symlink(vanished)) continue;
    if (is_folder) at.disable_recursion_pending();
    if (is_folder || is_hidden(at->path()) || !at->is_regular_file(vanished) || is_index(at->path().string()))
      ++out.left_out;
    else
      out.files.push_back(at->path().string());
  }
  if (failed) throw InputError(folder + ": cannot read this folder: " + failed.message());
  std::sort(out.files.begin(), out.files.end());
  return out;
}

}  // namespace

CorpusFiles corpus_files(const std::vector<std::string>& paths) {
  CorpusFiles out;
  for (const std::string& path : paths) {
    std::error_code unknown;  // whoever opens it says what is wrong
    if (path == "-" || !fs::is_directory(path, unknown)) {
      out.paths.push_back(path);
      continue;
    }
    Found found = files_in(path);
    if (found.files.empty())
      throw InputError(fmt::format("{}: is a folder without a file to read{}", path,
                                   found.left_out > 0 ? " (hidden ones are left out)" : ""));
    out.notes.push_back(fmt::format(
        "{}: a folder, {} files are read in the order of their names{}", path, found.files.size(),
        found.left_out > 0 ? fmt::format("; {} are left out (hidden, an index, or no file)", found.left_out)
                           : ""));
    out.paths.insert(out.paths.end(), found.files.begin(), found.files.end());
  }
  return out;
}

}  // namespace aloft
