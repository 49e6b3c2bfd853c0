#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "host/error.hpp"
#include "host/safetensors.hpp"

namespace aloft {

/// A safetensors file made of raw bytes, in a folder of its own.
class Safetensors : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("aloft-safetensors-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
    path_ = (folder_ / "file.safetensors").string();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& bytes) const {
    std::filesystem::remove(path_);  // a new file is not flushed on close, as one that was truncated may be
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  [[nodiscard]] std::string content() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  /// Length, header text and `data_bytes` bytes 0, 1, 2, ...
  static std::string file(const std::string& header, std::size_t data_bytes) {
    const std::uint64_t length = header.size();
    std::string out(8, '\0');
    std::memcpy(out.data(), &length, 8);
    out += header;
    for (std::size_t i = 0; i < data_bytes; ++i) out += static_cast<char>(i);
    return out;
  }
  /// The message of the InputError that opening the file throws; "" if it opens.
  [[nodiscard]] std::string refusal() const {
    try {
      const SafetensorsReader reader(path_);
      return "";
    } catch (const InputError& e) {
      return e.what();
    }
  }

  std::filesystem::path folder_;
  std::string path_;
};

}  // namespace aloft
