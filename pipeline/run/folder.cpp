#include "pipeline/run/folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "host/atomic_file.hpp"
#include "host/error.hpp"
#include "host/json_text.hpp"
#include "pipeline/recipes/recipe.hpp"

namespace aloft {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kManifest = "manifest.json";
constexpr const char* kState = ".aloft-state.json";
constexpr const char* kLock = ".aloft-lock";
constexpr const char* kSettings = "settings";
bool is_partial(const fs::path& p) {
  return p.filename().string().find(".aloft-partial-") != std::string::npos;
}

void remove_partials(const fs::path& folder) {
  std::vector<fs::path> partial;
  for (const auto& entry : fs::directory_iterator(folder))
    if (is_partial(entry.path())) partial.push_back(entry.path());
  for (const auto& p : partial) fs::remove(p);
}

}  // namespace

RunFolder::RunFolder(std::string path, const std::string& settings, bool force)
    : path_(std::move(path)), settings_(settings) {
  std::error_code failed;
  if (fs::exists(path_) && !fs::is_directory(path_))
    throw UsageError(path_ + ": exists and is no folder; give --output another name");
  created_ = fs::create_directories(path_, failed);
  if (failed) throw InputError(path_ + ": cannot create this folder: " + failed.message());
  lock_.emplace(file(kLock));
  remove_partials(path_);

  const bool complete = fs::exists(file(kManifest));
  const auto former = recall(kSettings);
  if (force) {
    replaces_ = true;
    return;
  }
  if (complete) {
    throw UsageError(path_ + ": holds a finished run; use --force to replace it, or another --output");
  } else if (former && *former != settings) {
    throw UsageError(
        path_ +
        ": holds an interrupted run with other settings; repeat those, use --force to discard it, "
        "or another --output");
  } else if (!former) {
    for (const std::string& name : file_names())
      if (fs::exists(file(name)))
        throw UsageError(file(name) + ": already exists; use --force to replace it, or another --output");
  } else {
    resuming_ = worth_keeping_ = true;
  }
  remember(kSettings, settings_);
}

void RunFolder::begin() {
  if (!replaces_) return;
  fs::remove(file(kManifest));  // first, so that an interruption never leaves a manifest without its files
  fs::remove(state_path());
  for (const std::string& name : file_names()) fs::remove(file(name));
  replaces_ = false;
  remember(kSettings, settings_);
}

void RunFolder::expect_kept(const std::vector<std::string>& inputs) const {
  if (!replaces_) return;
  std::error_code absent;  // then the two are not the same file
  for (const std::string& input : inputs)
    for (const std::string& name : file_names())
      if (fs::equivalent(input, file(name), absent))
        throw UsageError(input + ": is of the run that --force replaces; copy it, or give another --output");
}

RunFolder::~RunFolder() {
  std::error_code ignored;
  if (replaces_) {  // nothing was begun
    lock_.reset();
    if (created_) fs::remove(path_, ignored);
    return;
  }
  for (const std::string& name : file_names())  // a finished stage's, though nothing was remembered (stdin)
    worth_keeping_ = worth_keeping_ || fs::exists(file(name), ignored);
  if (!worth_keeping_) fs::remove(state_path(), ignored);
  lock_.reset();
  if (created_ && !worth_keeping_) fs::remove(path_, ignored);  // only when empty
}

RunFolder::Lock::Lock(std::string path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw InputError(path_ + ": cannot write in this folder");
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    ::close(descriptor_);
    throw UsageError(path_ + ": another aloft is working in this folder");
  }
}

RunFolder::Lock::~Lock() {
  ::unlink(path_.c_str());
  ::close(descriptor_);
}

const std::vector<std::string>& RunFolder::file_names() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> names;
    for (const Recipe& recipe : all_recipes())
      for (const Stage& stage : recipe.stages)
        for (std::string& name : files_of(stage))
          if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
    return names;
  }();
  return all;
}

std::string RunFolder::file(const std::string& name) const { return (fs::path(path_) / name).string(); }
std::string RunFolder::state_path() const { return file(kState); }

std::optional<std::string> RunFolder::recall(const std::string& key) const {
  if (replaces_ || !fs::exists(state_path())) return std::nullopt;
  const json state = try_parse_json(read_file(state_path())).value_or(json());
  if (!state.is_object() || !state.contains(key) || !state[key].is_string()) return std::nullopt;
  return state[key].get<std::string>();
}

void RunFolder::remember(const std::string& key, const std::string& value) {
  json state = fs::exists(state_path()) ? try_parse_json(read_file(state_path())).value_or(json()) : json();
  if (!state.is_object()) state = json::object();
  state[key] = value;
  worth_keeping_ = worth_keeping_ || key != kSettings;
  write_file(state_path(), state.dump(1) + "\n");
}

void RunFolder::complete(const std::string& manifest_text) {
  worth_keeping_ = true;
  write_file(file(kManifest), manifest_text);
  fs::remove(state_path());
}

}  // namespace aloft
