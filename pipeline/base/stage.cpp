#include "pipeline/base/stage.hpp"

#include <filesystem>

#include "host/hash.hpp"

namespace aloft {
namespace {

constexpr const char* kExtension = ".safetensors";

}  // namespace

std::string stage_key(const Stage& stage, std::initializer_list<std::string_view> inputs,
                      std::string_view parameters) {
  std::string text = "aloft stage\n" + std::string(stage.name) + '\n' + std::to_string(stage.version);
  for (const std::string_view input : inputs) text += '\n' + std::string(input);
  return hash_of(text + '\n' + std::string(parameters));
}

std::vector<std::string> files_of(const Stage& stage) {
  std::vector<std::string> out;
  if (!stage.artifact.empty()) out.push_back(std::string(stage.artifact) + kExtension);
  for (const std::string_view file : stage.more_files)
    if (!file.empty()) out.emplace_back(file);
  return out;
}

bool Stages::may_use_again(const Stage& s, const std::string& key) const {
  if (folder_.empty()) return false;
  const std::string file = artifact_path(s);
  return std::filesystem::exists(file) && artifact_key(file, s.artifact) == key;
}

std::string Stages::path(std::string_view file) const {
  return (std::filesystem::path(folder_) / file).string();
}

std::string Stages::artifact_path(const Stage& s) const {
  expects(!s.artifact.empty(), "a stage whose result is kept");
  return path(std::string(s.artifact) + kExtension);
}

void Stages::resumed(const Stage& s) {
  const std::string name(s.name);
  ctx_.times().push_back({name, 0, true});
  ctx_.progress().finish(name, 0, true);
}

}  // namespace aloft
