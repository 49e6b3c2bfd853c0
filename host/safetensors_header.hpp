#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "host/safetensors.hpp"

namespace aloft {

/// What a safetensors header says, validated: offsets tile the data in order, each as long as its shape and
/// dtype say.
struct SafetensorsHeader {
  struct Entry {
    TensorInfo info;
    std::uint64_t begin = 0, end = 0;  ///< bytes, from the first byte after the header
  };
  std::vector<Entry> entries;  ///< by offset
  std::map<std::string, std::string> metadata;
};

/// `text` is the JSON, '{' to '}'; `data_bytes` is what follows the header in the file. Throws InputError
/// naming path, tensor and reason.
[[nodiscard]] SafetensorsHeader parse_safetensors_header(const std::string& path, std::string_view text,
                                                         std::uint64_t data_bytes);

/// A name from a file as one short printable line.
[[nodiscard]] std::string shown_name(const std::string& name);

}  // namespace aloft
