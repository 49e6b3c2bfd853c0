#include "pipeline/model/checkpoint.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "tests/checkpoint_helpers.hpp"
#include "tests/emit_helpers.hpp"

// What emit() wrote comes back as it was; that emit() puts every number where a model reads it is for
// emit_test.cpp and tests/python/test_layouts.py. Biases, which emit() does not write, are laid out here by
// hand.

namespace aloft {
namespace {

constexpr const char* kOddReadable =
    R"({"name":"odd","tensors":{"fusion":"FUSION","orientation":"ORIENTATION",
  NAMES "output":"net.{layer}.o.weight","embedding":"net.embed.weight","head":"out.weight"},
  "tied_head":false,"norm":"layernorm","attention":{"grouped_query":true,"free_head_dim":true,"bias":true,
  "qk_norm":false,"score_scale":0.3},"position":{"kind":"rope","pairing":"PAIRING","base":10000,"fraction":0.5,
  "sign":SIGN},"init":{"std":0.02,"residual_scaled":false},
  "multipliers":{"embedding":12,"residual":0.22,"logits":0.125}})";

/// An architecture that differs from all built-in ones.
Architecture odd_architecture(const std::string& fusion, const std::string& orientation,
                              const std::string& pairing, const std::string& sign) {
  std::string text = kOddReadable;
  const auto put = [&](const std::string& from, const std::string& to) {
    text.replace(text.find(from), from.size(), to);
  };
  put("FUSION", fusion);
  put("ORIENTATION", orientation);
  put("NAMES", fusion == "separate" ? R"("query":"net.{layer}.q.weight","key":"net.{layer}.k.weight",
                                         "value":"net.{layer}.v.weight",)"
                                    : R"("qkv":"net.{layer}.qkv.weight",)");
  if (fusion == "interleaved_by_head") put("\"grouped_query\":true", "\"grouped_query\":false");
  put("PAIRING", pairing);
  put("SIGN", sign);
  return parse_architecture(text, "odd");
}

struct ReadCase {
  std::string name;
  Architecture arch;
  ModelShape shape;
};

std::vector<ReadCase> read_cases() {
  const ModelShape plain{2, 4, 4, 8, 32, 16, 11, 10000}, grouped{3, 4, 2, 8, 32, 16, 11, 10000},
      wide{2, 4, 1, 12, 32, 16, 11, 10000};
  std::vector<ReadCase> out;
  for (const BuiltinArchitecture& a : builtin_architectures()) {
    const Architecture arch = parse_architecture(a.json, a.name);
    out.push_back({a.name, arch, plain});
    if (arch.grouped_query) out.push_back({a.name + " grouped", arch, grouped});
    if (arch.grouped_query && arch.free_head_dim) out.push_back({a.name + " wide", arch, wide});
  }
  for (const char* fusion : {"separate", "concatenated", "interleaved_by_head"})
    for (const char* orientation : {"out_in", "in_out"})
      for (const char* pairing : {"half", "interleaved"})
        for (const char* sign : {"1", "-1"}) {
          const Architecture arch = odd_architecture(fusion, orientation, pairing, sign);
          const std::string name = fmt::format("odd {} {} {} {}", fusion, orientation, pairing, sign);
          out.push_back({name, arch, arch.grouped_query ? wide : ModelShape{2, 4, 4, 12, 32, 16, 11, 10000}});
        }
  Architecture stretched = architecture("llama");  // its amplitude is 1 + 0.1 ln 4
  stretched.rope_scaling.type = "yarn";
  stretched.rope_scaling.factor = 4;
  stretched.rope_scaling.original_context = 16;
  out.push_back({"llama yarn", stretched, grouped});
  return out;
}

/// The largest relative difference; infinity for other sizes.
double farthest(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size() || a.empty()) return INFINITY;
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    worst = std::max(worst, static_cast<double>(std::abs(a[i] - b[i])) /
                                std::max(1e-3, static_cast<double>(std::abs(b[i]))));
  return worst;
}

ModelFlags heads_only(const ModelShape& s) {
  ModelFlags flags;
  flags.heads = s.heads;
  return flags;
}

class ReadCheckpoint : public Emit {
 protected:
  /// Emits, lets `edit` change the tensors, and opens what is then there.
  Checkpoint written(const Architecture& arch, const ModelShape& shape,
                     const std::function<void(FileTensors&)>& edit = {}) {
    weights_ = random_heads(shape, true);
    weights_.head = arch.tied_head ? std::vector<float>{} : counting(weights_.embedding.size());
    if (arch.position == Architecture::Position::learned)
      weights_.position = counting(static_cast<std::size_t>(shape.context * shape.d_model));
    emit(path_, arch, shape, weights_, DType::f32, {});
    if (edit) {
      FileTensors tensors = load_tensors(path_);
      edit(tensors);
      save_tensors(path_, tensors);
    }
    return {path_, arch};
  }

  HeadWeights weights_;
};

TEST_F(ReadCheckpoint, WhatWasEmittedComesBack) {
  for (const ReadCase& c : read_cases()) {
    const Checkpoint file = written(c.arch, c.shape);
    const ModelShape s = file.shape(heads_only(c.shape), {});
    EXPECT_EQ(s.layers, c.shape.layers) << c.name;
    EXPECT_EQ(s.kv_heads, c.shape.kv_heads) << c.name;
    EXPECT_EQ(s.head_dim, c.shape.head_dim) << c.name;
    EXPECT_EQ(s.d_model, c.shape.d_model) << c.name;
    EXPECT_EQ(s.vocab, c.shape.vocab) << c.name;
    for (std::int64_t l = 0; l < s.layers; ++l) {
      const CheckpointLayer layer = file.layer(s, l);
      const LayerHeads& wanted = weights_.layers[static_cast<std::size_t>(l)];
      EXPECT_LT(farthest(layer.heads.query, wanted.query), 1e-6) << c.name;
      EXPECT_LT(farthest(layer.heads.key, wanted.key), 1e-6) << c.name;
      EXPECT_LT(farthest(layer.heads.value, wanted.value), 1e-6) << c.name;
      EXPECT_LT(farthest(layer.heads.output, wanted.output), 1e-6) << c.name;
      EXPECT_TRUE(layer.query_bias.empty() && layer.key_bias.empty() && layer.value_bias.empty());
    }
    EXPECT_TRUE(file.has_embedding());
    EXPECT_LT(farthest(file.embedding(s), weights_.embedding), 1e-6) << c.name;
    EXPECT_LT(farthest(file.head(s), c.arch.tied_head ? weights_.embedding : weights_.head), 1e-6) << c.name;
    EXPECT_EQ(file.positions(s).has_value(), !weights_.position.empty()) << c.name;
    if (file.positions(s)) {
      EXPECT_EQ(s.context, c.shape.context);
      EXPECT_EQ(*file.positions(s), weights_.position) << c.name;
    }
    EXPECT_EQ(file.notes(), std::vector<std::string>{}) << c.name;
  }
}

/// Where the bias of canonical row r of a head lies in the file, as the models have it.
using BiasPlace = std::function<std::size_t(const ModelShape&, int part, std::int64_t h, std::int64_t r)>;

TEST_F(ReadCheckpoint, BiasesHaveTheOrderAndTheFactorsOfTheirRows) {
  const struct {
    const char* name;
    Architecture arch;
    std::vector<std::string> tensors;  // one, or of each part
    BiasPlace place;
    double query_factor;
  } cases[] = {{"gpt2",
                architecture("gpt2"),
                {"transformer.h.1.attn.c_attn.bias"},
                [](const ModelShape& s, int part, std::int64_t h, std::int64_t r) {
                  return static_cast<std::size_t>(part * s.d_model + h * s.head_dim + r);
                },
                1},
               {"neox",
                architecture("neox"),
                {"gpt_neox.layers.1.attention.query_key_value.bias"},
                [](const ModelShape& s, int part, std::int64_t h, std::int64_t r) {
                  return static_cast<std::size_t>((3 * h + part) * s.head_dim + r);
                },
                1},
               {"llama",
                architecture("llama"),
                {"model.layers.1.self_attn.q_proj.bias", "model.layers.1.self_attn.k_proj.bias",
                 "model.layers.1.self_attn.v_proj.bias"},
                [](const ModelShape& s, int, std::int64_t h, std::int64_t r) {
                  return static_cast<std::size_t>(h * s.head_dim + r);
                },
                1},
               // 4 of the 8 rows turn, in neighbouring pairs, backwards: canonical (0, 2), (1, 3) are rows
               // (1, 0), (3, 2)
               {"odd",
                odd_architecture("separate", "in_out", "interleaved", "-1"),
                {"net.1.q.bias", "net.1.k.bias", "net.1.v.bias"},
                [](const ModelShape& s, int part, std::int64_t h, std::int64_t r) {
                  constexpr std::int64_t kTurned[] = {1, 3, 0, 2};
                  return static_cast<std::size_t>(h * s.head_dim + (part < 2 && r < 4 ? kTurned[r] : r));
                },
                1 / (std::sqrt(8.0) * 0.3)}};
  const ModelShape shape{2, 4, 4, 8, 32, 16, 11, 10000};
  for (const auto& c : cases) {
    std::vector<float> wanted[3];
    const Checkpoint file = written(c.arch, shape, [&](FileTensors& tensors) {
      for (int part = 0; part < 3; ++part) {
        const std::string& name = c.tensors[c.tensors.size() == 1 ? 0 : static_cast<std::size_t>(part)];
        FileTensor& bias = tensors[name];
        const std::int64_t rows = c.tensors.size() == 1 ? 96 : 32;
        bias.shape = {rows};
        bias.values.resize(static_cast<std::size_t>(rows));
        for (std::int64_t h = 0; h < 4; ++h)
          for (std::int64_t r = 0; r < 8; ++r) {
            const float value = static_cast<float>(100 * part + 8 * h + r + 1);
            wanted[part].push_back(value);
            bias.values[c.place(shape, part, h, r)] =
                part == 0 ? static_cast<float>(value * c.query_factor) : value;
          }
      }
    });
    const ModelShape s = file.shape(heads_only(shape), {});
    EXPECT_TRUE(file.layer(s, 0).query_bias.empty()) << c.name;
    const CheckpointLayer layer = file.layer(s, 1);
    EXPECT_LT(farthest(layer.query_bias, wanted[0]), 1e-6) << c.name;
    EXPECT_LT(farthest(layer.key_bias, wanted[1]), 1e-6) << c.name;
    EXPECT_LT(farthest(layer.value_bias, wanted[2]), 1e-6) << c.name;
  }
}

/// Every tensor under another name.
std::function<void(FileTensors&)> renamed(const std::function<std::string(const std::string&)>& to) {
  return [to](FileTensors& tensors) {
    FileTensors out;
    for (auto& [name, tensor] : tensors) out[to(name)] = std::move(tensor);
    tensors = std::move(out);
  };
}

std::string without_first_part(const std::string& name) { return name.substr(name.find('.') + 1); }

TEST_F(ReadCheckpoint, NamesMayHavePrefixesOrLackThatOfTheBaseModel) {
  const ModelShape shape{2, 4, 4, 8, 32, 16, 11, 10000};
  const struct {
    const char* arch;
    std::function<std::string(const std::string&)> to;
    const char* note;
  } cases[] = {
      {"llama", [](const std::string& n) { return "_orig_mod." + n; }, "begin with '_orig_mod.'"},
      {"gpt2", [](const std::string& n) { return "module." + n; }, "begin with 'module.'"},
      {"nanogpt", [](const std::string& n) { return "module._orig_mod." + n; },
       "begin with 'module._orig_mod.'"},
      {"llama", [](const std::string& n) { return "language_model." + n; }, "begin with 'language_model.'"},
      {"llama",
       [](const std::string& n) {
         return n.starts_with("model.") ? "model.language_model." + without_first_part(n) : n;
       },
       "begin with 'model.language_model.'"},
      {"llama", [](const std::string& n) { return n == "lm_head.weight" ? "other" : without_first_part(n); },
       "named without 'model.'"},
      {"gpt2", without_first_part, "named without 'transformer.'"},
      {"neox", [](const std::string& n) { return n == "embed_out.weight" ? n : without_first_part(n); },
       "named without 'gpt_neox.'"}};
  for (const auto& c : cases) {
    const Architecture arch = architecture(c.arch);
    const Checkpoint file = written(arch, shape, renamed(c.to));
    const ModelShape s = file.shape(heads_only(shape), {});
    EXPECT_EQ(file.layer(s, 1).heads.key, weights_.layers[1].key) << c.note;
    EXPECT_EQ(file.embedding(s), weights_.embedding) << c.note;
    ASSERT_FALSE(file.notes().empty()) << c.note;
    std::string all;
    for (const std::string& note : file.notes()) all += note;
    EXPECT_NE(all.find(c.note), std::string::npos) << all;
    const bool lost = c.to("lm_head.weight") == "other";
    EXPECT_EQ(all.find("the embedding is taken as output head") != std::string::npos, lost) << all;
    EXPECT_EQ(file.head(s), arch.tied_head || lost ? weights_.embedding : weights_.head) << c.note;
  }
}

/// W(gain ∘ x + shift) + b is what the head does to x: the gain in its columns, the shift in its bias.
TEST_F(ReadCheckpoint, TheNormBeforeAttentionIsInTheHeads) {
  const ModelShape shape{2, 4, 4, 8, 32, 16, 11, 10000};
  std::vector<float> gain, shift;
  for (int c = 0; c < 32; ++c)
    gain.push_back(c % 3 == 0 ? 0.5F : 2.0F), shift.push_back(c % 5 == 0 ? 0.25F : 0.0F);
  const Checkpoint plain = written(architecture("gpt2"), shape, [](FileTensors&) {});
  const ModelShape s = plain.shape(heads_only(shape), {});
  const CheckpointLayer before = plain.layer(s, 1);
  const Checkpoint file = written(architecture("gpt2"), shape, [&](FileTensors& tensors) {
    for (const int l : {0, 1}) {
      tensors[fmt::format("transformer.h.{}.ln_1.weight", l)] = {{32}, gain};
      tensors[fmt::format("transformer.h.{}.ln_1.bias", l)] = {{32}, l == 1 ? shift : std::vector<float>(32)};
    }
  });
  EXPECT_TRUE(file.folds_norms());
  EXPECT_FALSE(plain.folds_norms());
  const CheckpointLayer after = file.layer(s, 1);
  const auto expect_folded = [&](const std::vector<float>& was, const std::vector<float>& now,
                                 const std::vector<float>& bias) {
    ASSERT_EQ(now.size(), was.size());
    ASSERT_EQ(bias.size(), was.size() / 32);
    for (std::size_t r = 0; r < bias.size(); ++r) {
      double sum = 0;
      for (std::size_t c = 0; c < 32; ++c) {
        EXPECT_EQ(now[r * 32 + c], was[r * 32 + c] * gain[c]);
        sum += double(was[r * 32 + c]) * double(shift[c]);
      }
      EXPECT_NEAR(bias[r], sum, 1e-6 * (1 + std::abs(sum)));
    }
  };
  expect_folded(before.heads.query, after.heads.query, after.query_bias);
  expect_folded(before.heads.key, after.heads.key, after.key_bias);
  expect_folded(before.heads.value, after.heads.value, after.value_bias);
  EXPECT_EQ(before.heads.output, after.heads.output);
  ASSERT_EQ(file.notes().size(), 1u);
  EXPECT_NE(file.notes()[0].find("behind the gains of 'transformer.h.0.ln_1.weight'"), std::string::npos);
}

TEST_F(ReadCheckpoint, NormsThatAreNotReadAreMentioned) {
  const ModelShape shape{1, 4, 4, 8, 32, 16, 11, 10000};
  Architecture arch = architecture("llama");
  arch.attention_norm.clear();
  const Checkpoint file = written(arch, shape, [](FileTensors& tensors) {
    tensors["model.layers.0.input_layernorm.weight"] = {{32}, counting(32)};
    tensors["model.norm.weight"] = {{32}, counting(32)};
  });
  ASSERT_EQ(file.notes().size(), 1u);
  EXPECT_NE(file.notes()[0].find("model.layers.0.input_layernorm.weight"), std::string::npos);
}

TEST_F(ReadCheckpoint, ShardsAreReadAsOneFile) {
  const ModelShape shape{2, 4, 2, 8, 32, 16, 11, 10000};
  const Architecture arch = architecture("llama");
  (void)written(arch, shape);
  const std::filesystem::path folder = folder_ / "sharded";
  std::filesystem::create_directories(folder);
  FileTensors shards[2];
  nlohmann::json index;
  for (auto& [name, tensor] : load_tensors(path_)) {
    const bool second = name.find(".1.") != std::string::npos;
    index["weight_map"][name] = second ? "b.safetensors" : "a.safetensors";
    shards[second ? 1 : 0][name] = tensor;
  }
  save_tensors(folder / "a.safetensors", shards[0]);
  save_tensors(folder / "b.safetensors", shards[1]);
  write_text(folder / "model.safetensors.index.json", index.dump());
  const Checkpoint file(folder.string(), arch);
  const ModelShape s = file.shape(heads_only(shape), {});
  EXPECT_EQ(s.layers, 2);
  for (std::int64_t l = 0; l < 2; ++l)
    EXPECT_EQ(file.layer(s, l).heads.query, weights_.layers[static_cast<std::size_t>(l)].query);
}

TEST_F(ReadCheckpoint, SizesComeFromFlagsOverConfigOverTensors) {
  const ModelShape shape{2, 4, 4, 12, 32, 16, 11, 10000};
  const Checkpoint file = written(architecture("llama"), shape);
  ModelConfig config;
  config.origin = "config.json";
  config.heads = 4;
  config.kv_heads = 4;
  config.head_dim = 12;
  config.rope_base = 500000;
  config.context = 99;
  ModelShape s = file.shape({}, config);
  EXPECT_EQ(s.heads, 4);
  EXPECT_EQ(s.kv_heads, 4);
  EXPECT_EQ(s.head_dim, 12);
  EXPECT_EQ(s.context, 99);
  EXPECT_EQ(s.rope_base, 500000);
  ModelFlags flags;
  flags.heads = 2;  // the config's grouping and head size are not meant
  flags.context = 7;
  s = file.shape(flags, config);
  EXPECT_EQ(s.head_dim, 24);  // 48 dimensions of all heads
  EXPECT_EQ(s.kv_heads, 2);
  EXPECT_EQ(s.context, 7);
  EXPECT_THROW((void)file.shape({}, {}), UsageError);
}

}  // namespace
}  // namespace aloft
