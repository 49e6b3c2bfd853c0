#pragma once
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "host/safetensors.hpp"

namespace aloft {

/// A checkpoint's tensors in memory, to be changed and written again.
struct FileTensor {
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};
using FileTensors = std::map<std::string, FileTensor>;

inline FileTensors load_tensors(const std::string& path) {
  FileTensors out;
  const SafetensorsReader file(path);
  for (const TensorInfo& t : file.tensors()) out[t.name] = {t.shape, file.read<float>(t.name, t.shape)};
  return out;
}

inline void save_tensors(const std::filesystem::path& path, const FileTensors& tensors,
                         DType dtype = DType::f32) {
  std::vector<TensorInfo> infos;
  for (const auto& [name, t] : tensors) infos.push_back({name, dtype, t.shape});
  SafetensorsWriter writer(path.string(), {}, infos);
  for (const auto& [name, t] : tensors) {
    if (dtype == DType::f64) {
      writer.append(std::span<const double>(std::vector<double>(t.values.begin(), t.values.end())));
    } else {
      writer.append_as(dtype, t.values);
    }
  }
  writer.commit();
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary) << text;
}

/// What `act` refuses with, "" if it does not.
template <class Refusal, class Act>
std::string refusal_of(const Act& act) {
  try {
    act();
  } catch (const Refusal& e) {
    return e.what();
  }
  return "";
}

/// 1.5, 2.5, ...: values that every floating type holds.
inline std::vector<float> counting(std::size_t n) {
  std::vector<float> out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<float>(i) + 1.5F;
  return out;
}

}  // namespace aloft
