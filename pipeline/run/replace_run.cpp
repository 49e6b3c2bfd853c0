#include "pipeline/run/replace_run.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "host/atomic_file.hpp"
#include "host/error.hpp"
#include "host/json_text.hpp"

namespace aloft {
namespace {

namespace fs = std::filesystem;

std::string in(const std::string& folder, const std::string& name) {
  return (fs::path(folder) / name).string();
}

void remove(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    throw InputError(fmt::format("{}: cannot remove: {}", path, std::strerror(errno)));
}

void move(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    throw InputError(fmt::format("{}: cannot move to {}: {}", from, to, std::strerror(errno)));
}

/// Names of the files of the finished run in `folder`, from its manifest.
std::vector<std::string> files_of_run(const std::string& folder) {
  const std::string path = in(folder, kManifestFile);
  const auto manifest = try_parse_json(read_file(path)).value_or(nlohmann::json());
  const auto at = nlohmann::json::json_pointer("/manifest/files");
  if (!manifest.contains(at) || !manifest[at].is_object())
    throw InputError(path +
                     ": is damaged; remove this folder, which holds a run that replaces the one above it");
  std::vector<std::string> names;
  for (const auto& entry : manifest[at].items()) names.push_back(entry.key());
  return names;
}

}  // namespace

bool is_finished(const std::string& folder) { return fs::exists(in(folder, kManifestFile)); }

void replace_run(const std::string& from, const std::string& to, const std::vector<std::string>& names) {
  const std::vector<std::string> files = files_of_run(from);
  const auto among = [](const std::vector<std::string>& all, const std::string& name) {
    return std::find(all.begin(), all.end(), name) != all.end();
  };
  remove(in(from, kStateFile));  // or it would be an interrupted run once its manifest has moved
  remove(in(to, kManifestFile));
  remove(in(to, kStateFile));
  sync_folder(to);
  for (const std::string& name : names)
    if (!among(files, name)) remove(in(to, name));
  for (const std::string& name : files)
    if (among(names, name) && (fs::exists(in(from, name)) || !fs::exists(in(to, name))))
      move(in(from, name), in(to, name));
  sync_folder(to);
  move(in(from, kManifestFile), in(to, kManifestFile));
  sync_folder(to);
  discard_run(from, names);
  ::rmdir(from.c_str());
}

void discard_run(const std::string& folder, const std::vector<std::string>& names) {
  std::vector<std::string> all = names;
  all.insert(all.end(), {kManifestFile, kStateFile});
  remove_leftovers(folder, all);
  remove(in(folder, kStateFile));
  remove(in(folder, kManifestFile));
  for (const std::string& name : names) remove(in(folder, name));
}

}  // namespace aloft
