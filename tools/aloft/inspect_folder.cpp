#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "host/error.hpp"
#include "host/safetensors.hpp"
#include "pipeline/run/folder.hpp"
#include "tools/aloft/inspect.hpp"

namespace aloft {
namespace {

namespace fs = std::filesystem;

/// Files of weights, sorted.
std::vector<fs::path> weights_in(const fs::path& folder) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string extension = entry.path().extension().string();
    if (entry.is_regular_file() &&
        (extension == ".safetensors" || extension == ".bin" || extension == ".pt" || extension == ".pth"))
      out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

nlohmann::ordered_json run_folder_summary(const std::string& path) {
  nlohmann::ordered_json out{{"kind", "unfinished run"}}, files;
  const fs::path folder(path);
  for (const std::string& name : RunFolder::file_names())
    if (fs::is_regular_file(folder / name))
      files.push_back({{"file", name}, {"bytes", fs::file_size(folder / name)}});
  if (fs::exists(folder / "manifest.json")) {
    out = json_summary((folder / "manifest.json").string());
    out["kind"] = "finished run";
  }
  if (files.empty() && out.size() == 1) return {};
  out["files"] = std::move(files);
  return out;
}

nlohmann::ordered_json checkpoint_summary(const std::string& path) {
  const fs::path folder(path), config = folder / "config.json";
  const std::vector<fs::path> weights =
      fs::is_regular_file(config) ? weights_in(folder) : std::vector<fs::path>();
  if (weights.empty()) return {};
  nlohmann::ordered_json out{{"kind", "checkpoint of a model"}}, files;
  try {
    out["config"] = json_summary(config.string());
    out["config"].erase("kind");
  } catch (const InputError& e) {  // another library's
    out["config"] = {{"unreadable", e.what()}};
  }
  for (const fs::path& file : weights) {
    nlohmann::ordered_json row{{"file", file.filename().string()}, {"bytes", fs::file_size(file)}};
    if (file.extension() == ".safetensors") {
      const SafetensorsReader reader(file.string());
      std::int64_t numbers = 0;
      for (const TensorInfo& t : reader.tensors()) numbers += t.elements();
      row["tensors"] = reader.tensors().size();
      row["numbers"] = numbers;
    }
    files.push_back(std::move(row));
  }
  out["files"] = std::move(files);
  return out;
}

}  // namespace aloft
