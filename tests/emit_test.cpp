#include "pipeline/model/emit.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "host/error.hpp"
#include "tests/emit_helpers.hpp"

// Index by index, and without looking at the architecture description: where each number of the canonical
// form must lie in the file.

namespace {

namespace fs = std::filesystem;
using namespace aloft;

/// Where entry [h][r][c] of a canonical tensor lies: name, row and column in the file.
struct Place {
  std::string name;
  std::int64_t row, column;
};
enum class Part { query, key, value, output };
using Layout = std::function<Place(const ModelShape&, std::int64_t layer, Part, std::int64_t h,
                                   std::int64_t r, std::int64_t c)>;

Place linear(const std::string& name, std::int64_t row, std::int64_t column) { return {name, row, column}; }

Place nanogpt(const ModelShape& s, std::int64_t l, Part p, std::int64_t h, std::int64_t r, std::int64_t c) {
  const std::string block = "transformer.h." + std::to_string(l) + ".attn.";
  if (p == Part::output) return linear(block + "c_proj.weight", c, h * s.head_dim + r);
  return linear(block + "c_attn.weight", static_cast<std::int64_t>(p) * s.d_model + h * s.head_dim + r, c);
}
Place gpt2(const ModelShape& s, std::int64_t l, Part p, std::int64_t h, std::int64_t r, std::int64_t c) {
  Place at = nanogpt(s, l, p, h, r, c);
  std::swap(at.row, at.column);  // Conv1D
  return at;
}
Place llama(const ModelShape& s, std::int64_t l, Part p, std::int64_t h, std::int64_t r, std::int64_t c) {
  const std::string block = "model.layers." + std::to_string(l) + ".self_attn.";
  if (p == Part::output) return linear(block + "o_proj.weight", c, h * s.head_dim + r);
  const char* name = p == Part::query ? "q" : p == Part::key ? "k" : "v";
  return linear(block + name + "_proj.weight", h * s.head_dim + r, c);
}
Place neox(const ModelShape& s, std::int64_t l, Part p, std::int64_t h, std::int64_t r, std::int64_t c) {
  const std::string block = "gpt_neox.layers." + std::to_string(l) + ".attention.";
  if (p == Part::output) return linear(block + "dense.weight", c, h * s.head_dim + r);
  return linear(block + "query_key_value.weight", (h * 3 + static_cast<std::int64_t>(p)) * s.head_dim + r, c);
}
/// GPT-J: interleaved pairs in the first half of each head (rotary_dim = head_dim / 2 in this test).
Place gptj(const ModelShape& s, std::int64_t l, Part p, std::int64_t h, std::int64_t r, std::int64_t c) {
  const std::string block = "transformer.h." + std::to_string(l) + ".attn.";
  if (p == Part::output) return linear(block + "out_proj.weight", c, h * s.head_dim + r);
  const std::int64_t rotary = s.head_dim / 2;
  std::int64_t row = r;
  if (p != Part::value && r < rotary) row = r < rotary / 2 ? 2 * r : 2 * (r - rotary / 2) + 1;
  const char* name = p == Part::query ? "q" : p == Part::key ? "k" : "v";
  return linear(block + name + "_proj.weight", h * s.head_dim + row, c);
}

constexpr const char* kGptj = R"({"name":"gptj","tensors":{"fusion":"separate","orientation":"out_in",
  "query":"transformer.h.{layer}.attn.q_proj.weight","key":"transformer.h.{layer}.attn.k_proj.weight",
  "value":"transformer.h.{layer}.attn.v_proj.weight","output":"transformer.h.{layer}.attn.out_proj.weight",
  "embedding":"transformer.wte.weight","head":"lm_head.weight"},"tied_head":false,"norm":"layernorm",
  "attention":{"grouped_query":false,"free_head_dim":false,"bias":false,"qk_norm":false},
  "position":{"kind":"rope","pairing":"interleaved","base":10000,"fraction":0.5},
  "init":{"std":0.02,"residual_scaled":false}})";

/// Entries of the file that differ from round(canonical), over all layers; every entry of the file must be
/// reached.
std::int64_t differences(const std::string& path, const ModelShape& s, const HeadWeights& w,
                         const Layout& layout, const std::function<float(float)>& round) {
  const SafetensorsReader file(path);
  std::map<std::string, std::vector<double>> tensors;
  std::map<std::string, std::vector<bool>> reached;
  for (const TensorInfo& t : file.tensors()) {
    tensors[t.name] = file.read_real(t.name, t.shape);
    reached[t.name].resize(tensors[t.name].size());
  }
  std::int64_t wrong = 0;
  for (std::int64_t l = 0; l < s.layers; ++l)
    for (const Part p : {Part::query, Part::key, Part::value, Part::output}) {
      const LayerHeads& layer = w.layers[static_cast<std::size_t>(l)];
      const auto& canonical = p == Part::query   ? layer.query
                              : p == Part::key   ? layer.key
                              : p == Part::value ? layer.value
                                                 : layer.output;
      const std::int64_t heads = p == Part::query || p == Part::output ? s.heads : s.kv_heads;
      for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t r = 0; r < s.head_dim; ++r)
          for (std::int64_t c = 0; c < s.d_model; ++c) {
            const Place at = layout(s, l, p, h, r, c);
            const auto& shape = file.info(at.name).shape;
            const auto index = static_cast<std::size_t>(at.row * shape.at(1) + at.column);
            const float expected =
                round(canonical[static_cast<std::size_t>((h * s.head_dim + r) * s.d_model + c)]);
            if (at.row >= shape.at(0) || at.column >= shape.at(1) ||
                tensors[at.name].at(index) != static_cast<double>(expected))
              ++wrong;
            else
              reached[at.name][index] = true;
          }
    }
  for (const auto& [name, bits] : reached) {
    const bool embedding = name.find("wte") != std::string::npos || name.find("embed") != std::string::npos;
    if (wrong == 0 && !embedding) {
      EXPECT_EQ(std::count(bits.begin(), bits.end(), false), 0) << name;
    }
  }
  return wrong;
}

float same(float x) { return x; }

struct LayoutCase {
  const char* name;
  std::string json;
  Layout layout;
  ModelShape shape;
};

std::vector<LayoutCase> layout_cases() {
  const ModelShape plain{2, 4, 4, 8, 32, 16, 11, 10000}, grouped{2, 4, 2, 8, 32, 16, 11, 10000};
  return {{"nanogpt", built_in("nanogpt"), nanogpt, plain},
          {"nanogpt-rope", built_in("nanogpt-rope"), nanogpt, plain},
          {"gpt2", built_in("gpt2"), gpt2, plain},
          {"llama", built_in("llama"), llama, plain},
          {"llama grouped", built_in("llama"), llama, grouped},
          {"llama wide heads", built_in("llama"), llama, {1, 4, 1, 12, 32, 16, 11, 10000}},
          {"neox", built_in("neox"), neox, plain},
          {"gptj", kGptj, gptj, plain}};
}

TEST_F(Emit, EveryNumberLiesWhereTheModelReadsIt) {
  for (const LayoutCase& c : layout_cases()) {
    const Architecture arch = parse_architecture(c.json, c.name);
    const HeadWeights w = random_heads(c.shape, true);
    emit(path_, arch, c.shape, w, DType::f32, {});
    EXPECT_EQ(differences(path_, c.shape, w, c.layout, same), 0) << c.name;
    EXPECT_EQ(SafetensorsReader(path_).read<float>(arch.embedding, {c.shape.vocab, c.shape.d_model}),
              w.embedding)
        << c.name;
    emit(path_, arch, c.shape, w, DType::bf16, {});
    EXPECT_EQ(differences(path_, c.shape, w, c.layout, [](float x) { return from_bf16(to_bf16(x)); }), 0)
        << c.name;
    emit(path_, arch, c.shape, w, DType::f16, {});
    EXPECT_EQ(differences(path_, c.shape, w, c.layout, [](float x) { return from_f16(to_f16(x)); }), 0)
        << c.name;
  }
}

// The check above can fail: the same file read as a layout that is wrong in one way only.
TEST_F(Emit, WrongLayoutsAreTold) {
  const ModelShape s{2, 4, 4, 8, 32, 16, 11, 10000};
  const HeadWeights w = random_heads(s, false);
  const auto wrong = [&](const char* name, const Layout& layout) {
    return differences(path_, s, w, layout, same) > 1000 ? "" : name;
  };

  emit(path_, architecture("llama"), s, w, DType::f32, {});
  const auto transposed_only = [](Part which) {
    return
        [which](const ModelShape& m, std::int64_t l, Part p, std::int64_t h, std::int64_t r, std::int64_t c) {
          Place at = llama(m, l, p, h, r, c);
          if (p == which) std::swap(at.row, at.column);
          return at;
        };
  };
  for (const Part p : {Part::query, Part::key, Part::value, Part::output})
    EXPECT_STREQ(wrong("transposed", transposed_only(p)), "");
  EXPECT_STREQ(
      wrong("heads and rows exchanged",
            [](const ModelShape& m, std::int64_t l, Part p, std::int64_t h, std::int64_t r, std::int64_t c) {
              Place at = llama(m, l, p, 0, 0, c);
              if (p == Part::output) return llama(m, l, p, h, r, c);
              at.row = r * m.heads + h;
              return at;
            }),
      "");
  emit(path_, architecture("neox"), s, w, DType::f32, {});
  EXPECT_STREQ(
      wrong("fused in blocks",
            [](const ModelShape& m, std::int64_t l, Part p, std::int64_t h, std::int64_t r, std::int64_t c) {
              Place at = neox(m, l, p, h, r, c);
              if (p != Part::output) at.row = static_cast<std::int64_t>(p) * m.d_model + h * m.head_dim + r;
              return at;
            }),
      "");
  emit(path_, parse_architecture(kGptj, "gptj"), s, w, DType::f32, {});
  EXPECT_STREQ(
      wrong("half pairs",
            [](const ModelShape& m, std::int64_t l, Part p, std::int64_t h, std::int64_t r, std::int64_t c) {
              Place at = gptj(m, l, p, h, r, c);
              if (p != Part::output) at.row = h * m.head_dim + r;
              return at;
            }),
      "");
}

TEST_F(Emit, TensorsMetadataAndBytesAreDeterministic) {
  const ModelShape s{2, 4, 2, 8, 32, 16, 11, 10000};
  const HeadWeights w = random_heads(s, true);
  const Architecture llama_arch = architecture("llama");
  emit(path_, llama_arch, s, w, DType::bf16, {{"recipe", "random"}});
  const std::string first = read_file(path_);
  emit(path_, llama_arch, s, w, DType::bf16, {{"recipe", "random"}});
  EXPECT_EQ(read_file(path_), first);

  const SafetensorsReader file(path_);
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}, {"recipe", "random"}}));
  const auto declared = emitted_tensors(llama_arch, s, w, DType::bf16);
  ASSERT_EQ(file.tensors().size(), declared.size());
  ASSERT_EQ(declared.size(), 9u);
  for (std::size_t i = 0; i < declared.size(); ++i) {
    EXPECT_EQ(file.tensors()[i].name, declared[i].name);
    EXPECT_EQ(file.tensors()[i].shape, declared[i].shape);
    EXPECT_EQ(file.tensors()[i].dtype, DType::bf16);
  }
  EXPECT_EQ(declared[2].name, "model.layers.0.self_attn.k_proj.weight");
  EXPECT_EQ(declared[2].shape, (std::vector<std::int64_t>{16, 32}));
  EXPECT_EQ(
      emitted_tensors(architecture("gpt2"), {1, 4, 4, 8, 32, 16, 11, 10000}, HeadWeights{}, DType::f32)[0]
          .shape,
      (std::vector<std::int64_t>{32, 96}));
}

TEST_F(Emit, ATiedModelGetsItsEmbeddingOnce) {
  const ModelShape s{1, 4, 4, 8, 32, 16, 11, 10000};
  for (const char* name : {"gpt2", "nanogpt", "nanogpt-rope"}) {
    emit(path_, architecture(name), s, random_heads(s, true), DType::f32, {});
    const SafetensorsReader file(path_);
    EXPECT_TRUE(file.contains("transformer.wte.weight")) << name;
    EXPECT_FALSE(file.contains("lm_head.weight")) << name;
    EXPECT_EQ(file.tensors().size(), 3u) << name;
  }
  emit(path_, architecture("gpt2"), s, random_heads(s, false), DType::f32, {});
  EXPECT_EQ(SafetensorsReader(path_).tensors().size(), 2u);  // without one, the model's own stays
}

TEST_F(Emit, WhatCannotBeWrittenIsRefusedAndLeavesNoFile) {
  const ModelShape s{1, 4, 4, 8, 32, 16, 11, 10000};
  const Architecture a = architecture("llama");
  HeadWeights w = random_heads(s, false);
  EXPECT_THROW(emit(path_, a, s, w, DType::f64, {}), UsageError);
  EXPECT_THROW(emit(path_, architecture("gpt2"), {1, 4, 2, 8, 32, 16, 11, 10000}, w, DType::f32, {}),
               UsageError);
  w.layers[0].key[5] = 70000;
  EXPECT_THROW(emit(path_, a, s, w, DType::f16, {}), NumericError);
  w.layers[0].key[5] = std::nanf("");
  EXPECT_THROW(emit(path_, a, s, w, DType::f32, {}), NumericError);
  EXPECT_THROW(save_heads(path_, s, w, {}), NumericError);
  w.layers[0].key.pop_back();
  EXPECT_THROW(emit(path_, a, s, w, DType::f32, {}), Error);
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(Emit, HeadsAreSavedAsTheyAre) {
  const ModelShape s{2, 4, 2, 8, 32, 16, 11, 10000};
  const HeadWeights w = random_heads(s, true);
  save_heads(path_, s, w, {{"seed", "3"}});
  const SafetensorsReader file(path_);
  EXPECT_EQ(file.tensors().size(), 9u);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.metadata().at("seed"), "3");
  for (std::size_t l = 0; l < 2; ++l) {
    const std::string prefix = "layer" + std::to_string(l) + ".";
    EXPECT_EQ(file.read<float>(prefix + "query", {4, 8, 32}), w.layers[l].query);
    EXPECT_EQ(file.read<float>(prefix + "key", {2, 8, 32}), w.layers[l].key);
    EXPECT_EQ(file.read<float>(prefix + "value", {2, 8, 32}), w.layers[l].value);
    EXPECT_EQ(file.read<float>(prefix + "output", {4, 8, 32}), w.layers[l].output);
  }
  EXPECT_EQ(file.read<float>("embedding", {11, 32}), w.embedding);
}

}  // namespace
