#include "pipeline/run/folder.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "host/atomic_file.hpp"
#include "host/error.hpp"
#include "host/json_text.hpp"
#include "pipeline/recipes/recipe.hpp"
#include "pipeline/run/replace_run.hpp"

namespace aloft {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kReplacement = ".aloft-new";
constexpr const char* kSettings = "settings";

std::string state_of(const std::string& folder) { return (fs::path(folder) / kStateFile).string(); }

/// What the run in `folder` remembers; an empty object when there is nothing, or nothing readable.
json read_state(const std::string& folder) {
  const std::string path = state_of(folder);
  if (!fs::exists(path)) return json::object();
  json state = try_parse_json(read_file(path)).value_or(json());
  return state.is_object() ? state : json::object();
}

std::optional<std::string> recall_in(const std::string& folder, const std::string& key) {
  const json state = read_state(folder);
  if (!state.contains(key) || !state[key].is_string()) return std::nullopt;
  return state[key].get<std::string>();
}

std::vector<std::string> names_of_everything() {
  std::vector<std::string> names = RunFolder::file_names();
  names.insert(names.end(), {kManifestFile, kStateFile});
  return names;
}

}  // namespace

RunFolder::RunFolder(std::string path, const std::string& settings, bool force)
    : path_(std::move(path)), settings_(settings) {
  lock_.emplace(path_);
  tidy_up_.emplace(this, [](void* folder) { static_cast<RunFolder*>(folder)->end(); });  // before the lock's
  const KeepWhole whole;
  finish_what_was_begun();
  choose_where_to_work(force);
}

/// What a killed process left to do, or left behind.
void RunFolder::finish_what_was_begun() const {
  remove_leftovers(path_, names_of_everything());
  const std::string next = replacement();
  if (const auto there = fs::symlink_status(next); fs::exists(there)) {
    if (!fs::is_directory(there)) throw UsageError(next + ": is no folder of a run; move it away");
    remove_leftovers(next, names_of_everything());
    if (is_finished(next)) {
      replace_run(next, path_, file_names());
    } else if (!fs::exists(state_of(next)) && !has_files(next)) {
      ::rmdir(next.c_str());
    }
  }
  if (is_finished(path_)) fs::remove(state_of(path_));  // it was complete
}

void RunFolder::choose_where_to_work(bool force) {
  const std::string next = replacement();
  const bool complete = is_finished(path_);
  const auto former = recall_in(path_, kSettings), replacing = recall_in(next, kSettings);
  const bool occupied = complete || former || has_files(path_);
  const bool may_write = force || !occupied;
  work_ = path_;
  if (may_write && replacing == settings_) {
    resuming_ = true;
    work_ = next;
  } else if (!complete && former == settings_) {
    resuming_ = true;
  } else if (force) {
    if (occupied || fs::exists(next)) work_ = next;
  } else if (complete) {
    throw UsageError(path_ + ": holds a finished run; use --force to replace it, or another --output");
  } else if (former || replacing) {
    throw UsageError(
        path_ +
        ": holds an interrupted run with other settings; repeat those, use --force to discard it, "
        "or another --output");
  }
  if (resuming_) return;
  for (const std::string& name : file_names()) {
    const std::string at = (fs::path(path_) / name).string();
    if (fs::is_directory(at))
      throw UsageError(at + ": is a folder where this run would write a file; move it");
    if (!force && fs::exists(at))
      throw UsageError(at + ": already exists; use --force to replace it, or another --output");
  }
}

void RunFolder::begin() {
  const KeepWhole whole;
  if (!resuming_ && work_ != path_) {
    fs::create_directory(work_);
    discard_run(work_, file_names());
  }
  begun_ = true;
  if (!resuming_) remember({{kSettings, settings_}});
}

void RunFolder::expect_kept(const std::vector<std::string>& inputs) const {
  if (work_ == path_) return;
  std::error_code absent;  // then the two are not the same file
  for (const std::string& input : inputs)
    for (const std::string& name : file_names())
      if (fs::equivalent(input == "-" ? "/dev/stdin" : input, fs::path(path_) / name, absent))
        throw UsageError(input + ": is of the run that --force replaces; copy it, or give another --output");
}

RunFolder::~RunFolder() { end(); }

void RunFolder::end() noexcept {
  const KeepWhole whole;
  try {
    if ((begun_ || resuming_) && !complete_) leave_nothing_useless();
  } catch (...) {  // no memory for a name: the next run tidies up
  }
}

/// Unless a stage has been finished.
void RunFolder::leave_nothing_useless() {
  if (has_files(work_)) return;  // though nothing was remembered (stdin)
  if (const json state = read_state(work_); state.size() > 1) return;
  discard_run(work_, {});
  if (work_ != path_) ::rmdir(work_.c_str());
}

bool RunFolder::has_files(const std::string& folder) const {
  return std::any_of(file_names().begin(), file_names().end(),
                     [&](const std::string& name) { return fs::exists(fs::path(folder) / name); });
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

std::vector<std::string> RunFolder::files_in(const std::string& folder) {
  std::vector<std::string> out{(fs::path(folder) / kManifestFile).string()};
  for (const std::string& name : file_names()) out.push_back((fs::path(folder) / name).string());
  return out;
}

std::string RunFolder::file(const std::string& name) const { return (fs::path(work_) / name).string(); }
std::string RunFolder::replacement() const { return (fs::path(path_) / kReplacement).string(); }

std::optional<std::string> RunFolder::recall(const std::string& key) const {
  return resuming_ || begun_ ? recall_in(work_, key) : std::nullopt;
}

void RunFolder::remember(const std::map<std::string, std::string>& facts) {
  json state = read_state(work_);
  for (const auto& [key, value] : facts) state[key] = value;
  write_file(state_of(work_), state.dump(1) + "\n");
}

void RunFolder::complete(const std::string& manifest_text) {
  const KeepWhole whole;
  write_file(file(kManifestFile), manifest_text);
  complete_ = true;
  if (work_ == path_) {
    fs::remove(state_of(path_));
    if (const std::string other = replacement(); fs::is_directory(other)) {
      discard_run(other, file_names());
      ::rmdir(other.c_str());
    }
  } else {
    replace_run(work_, path_, file_names());
  }
  interrupts_are_over();
}

}  // namespace aloft
