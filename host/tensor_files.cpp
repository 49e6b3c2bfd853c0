#include "host/tensor_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "host/error.hpp"
#include "host/foreign_format.hpp"
#include "host/input_file.hpp"
#include "host/json_text.hpp"
#include "host/plural.hpp"
#include "host/printable.hpp"
#include "host/safetensors_header.hpp"

namespace aloft {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndexEnding = ".safetensors.index.json";
constexpr std::string_view kConvert = "`python -m aloft convert FILE FOLDER` makes safetensors of it";
constexpr std::string_view kNeeded = "a .safetensors file is needed, or a folder with one";

bool has_ending(const std::string& name, std::initializer_list<std::string_view> endings) {
  return std::any_of(endings.begin(), endings.end(), [&](auto ending) { return name.ends_with(ending); });
}
bool is_convertible(const std::string& name) {
  return has_ending(name, {".pt", ".pth", ".bin", ".ckpt", ".gguf"});
}

/// Refuses what is known to be no safetensors file; what is not known is left to the reader.
void refuse_foreign(const std::string& path) {
  if (!fs::is_regular_file(path)) return;  // a pipe would be waited for
  InputFile file(path);
  if (file.empty()) throw InputError(path + ": is empty; " + std::string(kNeeded));
  const std::string head = file.head();
  const auto kind = foreign_format(head, path, file.size());
  if (!kind || kind->what == "a safetensors file") {
    if (!kind && is_convertible(path) && head.starts_with("\x80"))  // a pickle of whatever protocol
      throw InputError(fmt::format("{}: is a Python pickle; {}", path, kConvert));
    return;
  }
  const bool weights = kind->what.starts_with("a PyTorch file") ||
                       kind->what.starts_with("a Python pickle") || kind->what == "a GGUF model" ||
                       (kind->what == "a zip archive" && is_convertible(path));
  if (weights) throw InputError(fmt::format("{}: is {}; {}", path, kind->what, kConvert));
  throw InputError(fmt::format("{}: is {}, which is not supported; {}", path, kind->what, kNeeded));
}

std::string file_text(const std::string& path) {
  InputFile file(path);
  if (file.size() > kLongestJson)
    throw InputError(fmt::format("{}: {} bytes are too many for an index", path, file.size()));
  std::string out(static_cast<std::size_t>(file.size()), '\0');
  const std::size_t got = file.open()->read(out);
  out.resize(got);
  return out;
}

/// name -> file, checked to be text and files of the folder itself.
std::map<std::string, std::string> read_weight_map(const std::string& path) {
  const nlohmann::json index = parse_json(file_text(path), path);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    throw InputError(path + ": has no object weight_map, which says which file holds a tensor");
  std::map<std::string, std::string> out;
  for (const auto& [name, file] : index["weight_map"].items()) {
    if (!file.is_string())
      throw InputError(fmt::format("{}: weight_map: '{}' is not given a file name", path, shown_name(name)));
    const std::string shard = file.get<std::string>();
    if (shard.empty() || shard == "." || shard == ".." || shard.find('/') != std::string::npos ||
        shard.find('\0') != std::string::npos)
      throw InputError(
          fmt::format("{}: weight_map: '{}' is said to be in '{}', which is no file name in the folder", path,
                      shown_name(name), printable(shard)));
    out[name] = shard;
  }
  if (out.empty()) throw InputError(path + ": weight_map names no tensor");
  return out;
}

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

}  // namespace

std::vector<std::string> nearest_names(const std::string& name, const std::vector<std::string>& candidates,
                                       std::size_t most) {
  constexpr std::size_t kLongest = 300;  // the distance takes the product of the lengths
  std::vector<std::pair<std::size_t, std::string>> ranked;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > kLongest || name.size() > kLongest) continue;
    const std::size_t distance = edit_distance(name, candidate);
    if (2 * distance <= std::max(name.size(), candidate.size())) ranked.emplace_back(distance, candidate);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::string> out;
  for (std::size_t i = 0; i < std::min(most, ranked.size()); ++i) out.push_back(ranked[i].second);
  return out;
}

TensorFiles::TensorFiles(const std::string& path) : origin_(path) {
  std::error_code failed;
  const fs::file_status status = fs::status(path, failed);
  if (!fs::exists(status)) throw InputError(fmt::format("{}: is not there; {}", path, kNeeded));
  if (fs::is_directory(status))
    open_folder(path);
  else if (path.ends_with(kIndexEnding))
    open_index(path, fs::path(path).parent_path().string());
  else
    open_file(path);
  if (where_.empty()) throw InputError(path + ": holds no tensor");
}

void TensorFiles::open_folder(const std::string& folder) {
  std::vector<std::string> found, others;
  std::error_code failed;
  for (fs::directory_iterator it(folder, failed), end; !failed && it != end; it.increment(failed)) {
    const std::string name = it->path().filename().string();
    if (name.ends_with(".safetensors")) found.push_back(name);
    if (is_convertible(name) && name != "training_args.bin") others.push_back(name);
  }
  if (failed) throw InputError(fmt::format("{}: cannot be listed: {}", folder, failed.message()));
  std::sort(found.begin(), found.end());
  std::sort(others.begin(), others.end());
  const auto in_folder = [&](const std::string& name) { return (fs::path(folder) / name).string(); };
  const auto has = [&](const char* name) {
    return std::find(found.begin(), found.end(), name) != found.end();
  };
  const std::string index = in_folder("model.safetensors.index.json");
  if (has("model.safetensors")) return open_file(in_folder("model.safetensors"));
  if (fs::exists(index)) return open_index(index, folder);
  if (has("init.safetensors")) return open_file(in_folder("init.safetensors"));
  if (found.size() == 1) return open_file(in_folder(found[0]));
  if (found.size() > 1)
    throw InputError(fmt::format(
        "{}: has {} ({}, {}, ...), but neither model.safetensors nor its index; give the one that is meant",
        folder, counted(found.size(), ".safetensors file"), printable(found[0]), printable(found[1])));
  if (!others.empty())
    throw InputError(
        fmt::format("{}: has no .safetensors file, but {}: `python -m aloft convert {} NEW_FOLDER` "
                    "makes safetensors of it",
                    folder, printable(others[0]), printable(in_folder(others[0]), 400)));
  throw InputError(folder + ": has no .safetensors file in it");
}

void TensorFiles::open_file(const std::string& path) {
  refuse_foreign(path);
  files_.push_back(std::make_unique<SafetensorsReader>(path));
  paths_.push_back(path);
  for (const TensorInfo& t : files_.back()->tensors()) where_[t.name] = files_.size() - 1;
}

void TensorFiles::open_index(const std::string& path, const std::string& folder) {
  std::map<std::string, std::size_t> shards;
  for (const auto& [name, shard] : read_weight_map(path)) {
    auto at = shards.find(shard);
    if (at == shards.end()) {
      const std::string file = (fs::path(folder) / shard).string();
      if (!fs::exists(file))
        throw InputError(fmt::format("{}: the file '{}' that it names is missing", path, printable(shard)));
      refuse_foreign(file);
      files_.push_back(std::make_unique<SafetensorsReader>(file));
      paths_.push_back(file);
      at = shards.emplace(shard, files_.size() - 1).first;
    }
    if (!files_[at->second]->contains(name))
      throw InputError(fmt::format("{}: '{}' is said to be in '{}', which does not hold it", path,
                                   shown_name(name), printable(shard)));
    where_[name] = at->second;
  }
}

std::vector<std::string> TensorFiles::names() const {
  std::vector<std::string> out;
  for (const auto& [name, file] : where_) out.push_back(name);
  return out;
}

const SafetensorsReader& TensorFiles::file_of(const std::string& name) const {
  const auto found = where_.find(name);
  if (found != where_.end()) return *files_[found->second];
  const std::string stem = name.substr(0, name.rfind('.'));
  for (const char* part : {".qweight", ".weight_packed"})
    if (contains(stem + part))
      throw InputError(
          fmt::format("{}: has no tensor '{}' but '{}{}': it is quantised; the weights before that "
                      "(or written back as F16 by the library that quantised them) are needed",
                      origin_, shown_name(name), shown_name(stem), part));
  std::vector<std::string> near = nearest_names(name, names(), 3);
  for (std::string& n : near) n = fmt::format("'{}'", shown_name(n));
  throw InputError(fmt::format("{}: has no tensor '{}'{}", origin_, shown_name(name),
                               near.empty() ? "" : fmt::format("; nearest: {}", fmt::join(near, ", "))));
}

const TensorInfo& TensorFiles::info(const std::string& name) const { return file_of(name).info(name); }

std::vector<float> TensorFiles::read_float(const std::string& name,
                                           const std::vector<std::int64_t>& shape) const {
  const SafetensorsReader& file = file_of(name);
  const TensorInfo& found = file.info(name);
  const std::string& path = paths_[where_.at(name)];
  const DType dtype = found.dtype;
  if (dtype != DType::f64 && dtype != DType::f32 && dtype != DType::f16 && dtype != DType::bf16)
    throw InputError(
        fmt::format("{}: tensor '{}' is {}, so it is quantised or no weight; the weights as F32, F16 or BF16 "
                    "(before they were quantised, or written back so by the library that did it) are needed",
                    path, shown_name(name), dtype_name(dtype)));
  if (found.shape != shape)
    throw InputError(fmt::format("{}: tensor '{}' has shape [{}], [{}] is needed", path, shown_name(name),
                                 fmt::join(found.shape, ", "), fmt::join(shape, ", ")));
  std::vector<float> out;
  if (dtype == DType::f32) {
    out = file.read<float>(name, shape);
  } else {
    out.reserve(static_cast<std::size_t>(found.elements()));
    file.read_real_blocks(name, [&](std::span<const double> part) {
      for (const double x : part) out.push_back(static_cast<float>(x));
    });
  }
  const auto bad = std::find_if(out.begin(), out.end(), [](float x) { return !std::isfinite(x); });
  if (bad != out.end())
    throw InputError(
        fmt::format("{}: tensor '{}' holds {} at element {}: a training that went wrong, or a damaged file",
                    path, shown_name(name), *bad, bad - out.begin()));
  return out;
}

}  // namespace aloft
