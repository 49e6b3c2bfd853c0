#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <random>
#include <string>

#include "host/error.hpp"
#include "pipeline/model/architecture.hpp"
#include "pipeline/model/emit.hpp"
#include "tools/aloft/builtin_architectures.hpp"

namespace aloft {

inline std::string built_in(const std::string& name) {
  for (const auto& a : builtin_architectures())
    if (a.name == name) return a.json;
  throw Error("no built-in " + name);
}
inline Architecture architecture(const std::string& name) { return parse_architecture(built_in(name), name); }

/// Random numbers without any symmetry; heads·head_dim = d, so that a transposed W_O has the same shape.
inline HeadWeights random_heads(const ModelShape& s, bool with_embedding) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  const auto fill = [&](std::int64_t n) {
    std::vector<float> x(static_cast<std::size_t>(n));
    for (float& v : x) v = normal(random);
    return x;
  };
  HeadWeights w;
  for (std::int64_t l = 0; l < s.layers; ++l) {
    LayerHeads layer;
    layer.query = fill(s.heads * s.head_dim * s.d_model);
    layer.key = fill(s.kv_heads * s.head_dim * s.d_model);
    layer.value = fill(s.kv_heads * s.head_dim * s.d_model);
    layer.output = fill(s.heads * s.head_dim * s.d_model);
    w.layers.push_back(std::move(layer));
  }
  if (with_embedding) w.embedding = fill(s.vocab * s.d_model);
  return w;
}

class Emit : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("aloft-emit-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
    path_ = (folder_ / "init.safetensors").string();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
  std::string path_;
};

}  // namespace aloft
