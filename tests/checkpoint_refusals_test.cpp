#include <functional>
#include <limits>

#include "pipeline/model/checkpoint.hpp"
#include "tests/checkpoint_helpers.hpp"
#include "tests/emit_helpers.hpp"

// Every way in which a checkpoint and what was said of it do not fit each other: one line that names both.

namespace aloft {
namespace {

using RefusedCheckpoint = Emit;

using Change = std::function<void(FileTensors&, ModelFlags&, ModelConfig&)>;

struct RefusedCase {
  const char* name;
  const char* arch;
  Change change;
  std::vector<std::string> says;
};

const std::string kFirstQuery = "model.layers.0.self_attn.q_proj.weight";

/// The tensor with another shape, or a new one.
Change reshaped(const std::string& name, const std::vector<std::int64_t>& shape) {
  std::int64_t elements = 1;
  for (const std::int64_t extent : shape) elements *= extent;
  return [=](FileTensors& tensors, ModelFlags&, ModelConfig&) {
    tensors[name] = {shape, counting(static_cast<std::size_t>(elements))};
  };
}

Change spoilt(const std::string& name) {
  return [=](FileTensors& tensors, ModelFlags&, ModelConfig&) {
    tensors[name].values[7] = std::numeric_limits<float>::quiet_NaN();
  };
}

/// Tensors that are not what the architecture has.
std::vector<RefusedCase> refused_tensors() {
  using T = FileTensors;
  using F = ModelFlags;
  using C = ModelConfig;
  return {{"another architecture",
           "gpt2",
           [](T&, F&, C&) {},
           {"has no tensor 'transformer.h.0.attn.c_attn.weight'", "architecture gpt2",
            "is --arch the right one?"}},
          {"a gap",
           "llama",
           [](T& t, F&, C&) { t["model.layers.3.self_attn.q_proj.weight"] = t[kFirstQuery]; },
           {"has layers up to 3, but no layer 2 ('model.layers.2.self_attn.q_proj.weight')"}},
          {"no first layer",
           "llama",
           [](T& t, F&, C&) { t.erase(kFirstQuery); },
           {"has layers up to 1, but no layer 0"}},
          {"a part of a layer is missing",
           "llama",
           [](T& t, F&, C&) { t.erase("model.layers.1.self_attn.v_proj.weight"); },
           {"has no tensor 'model.layers.1.self_attn.v_proj.weight'; nearest: '",
            "'model.layers.0.self_attn.v_proj.weight'"}},
          {"a vector for a matrix",
           "llama",
           reshaped("model.layers.0.self_attn.o_proj.weight", {1024}),
           {"'model.layers.0.self_attn.o_proj.weight' has shape [1024], a matrix is needed"}},
          {"a later layer of another shape",
           "llama",
           reshaped("model.layers.1.self_attn.k_proj.weight", {8, 32}),
           {"'model.layers.1.self_attn.k_proj.weight' has shape [8, 32], [16, 32] is needed",
            "2 key-value heads of 8"}},
          {"a bias of another length",
           "llama",
           reshaped("model.layers.1.self_attn.k_proj.bias", {32}),
           {"'model.layers.1.self_attn.k_proj.bias' has shape [32], [16] is needed"}},
          {"a head of another size",
           "llama",
           reshaped("lm_head.weight", {12, 32}),
           {"'lm_head.weight' has shape [12, 32], [11, 32] is needed", "11 tokens"}},
          {"not a number",
           "llama",
           spoilt("model.layers.1.self_attn.q_proj.weight"),
           {"'model.layers.1.self_attn.q_proj.weight' holds nan at element 7"}},
          {"no position table",
           "nanogpt",
           [](T& t, F&, C&) { t.erase("transformer.wpe.weight"); },
           {"has no tensor 'transformer.wpe.weight'"}}};
}

/// Sizes that were given and are not the file's.
std::vector<RefusedCase> refused_sizes() {
  using T = FileTensors;
  using F = ModelFlags;
  using C = ModelConfig;
  return {
      {"layers by flag",
       "llama",
       [](T&, F& f, C&) { f.layers = 12; },
       {"has 2 layers", "but --layers 12 was given"}},
      {"layers by config",
       "llama",
       [](T&, F&, C& c) { c.layers = 12; },
       {"has 2 layers", "12 layers (num_hidden_layers, n_layer of c.json)"}},
      {"width by flag",
       "llama",
       [](T&, F& f, C&) { f.d_model = 64; },
       {"has 32 dimensions of the model by model.embed_tokens.weight", "--d-model 64"}},
      {"width by config",
       "llama",
       [](T&, F&, C& c) { c.d_model = 64; },
       {"has 32 dimensions of the model", "hidden_size, n_embd of c.json"}},
      {"vocabulary by config",
       "llama",
       [](T&, F&, C& c) { c.vocab = 12; },
       {"has 11 tokens by model.embed_tokens.weight", "vocab_size of c.json"}},
      {"vocabulary by flag",
       "llama",
       [](T&, F& f, C&) { f.vocab = 10; },
       {"has 11 tokens", "--model-vocab-size 10"}},
      {"key-value heads by flag",
       "llama",
       [](T&, F& f, C&) { f.kv_heads = 4; },
       {"'model.layers.0.self_attn.k_proj.weight' has shape [16, 32], [32, 32] is needed", "--kv-heads 4"}},
      {"key-value heads by config",
       "llama",
       [](T&, F&, C& c) { c.heads = 4, c.kv_heads = 1; },
       {"has shape [16, 32], [8, 32] is needed", "1 key-value heads (num_key_value_heads of c.json)"}},
      {"heads that do not fit",
       "llama",
       [](T&, F& f, C&) { f.heads = 5; },
       {"'model.layers.0.self_attn.o_proj.weight' has 32 dimensions of all heads together, no multiple of "
        "--heads 5"}},
      {"head size by flag",
       "llama",
       [](T&, F& f, C&) { f.head_dim = 16; },
       {"'model.layers.0.self_attn.q_proj.weight' has shape [32, 32], [64, 32] is needed", "--head-dim 16"}},
      {"another context",
       "nanogpt",
       [](T&, F& f, C&) { f.context = 17; },
       {"has 16 positions by transformer.wpe.weight", "--context 17"}}};
}

std::vector<RefusedCase> refused_checkpoints() {
  std::vector<RefusedCase> out = refused_tensors();
  for (const RefusedCase& c : refused_sizes()) out.push_back(c);
  return out;
}

/// Everything that can be read of a file.
void read_all(const std::string& path, const Architecture& arch, const ModelFlags& flags,
              const ModelConfig& config) {
  const Checkpoint file(path, arch);
  const ModelShape s = file.shape(flags, config);
  for (std::int64_t l = 0; l < s.layers; ++l) (void)file.layer(s, l);
  (void)file.embedding(s);
  (void)file.head(s);
  (void)file.positions(s);
}

TEST_F(RefusedCheckpoint, WhatDoesNotFitIsRefusedInOneLine) {
  for (const RefusedCase& c : refused_checkpoints()) {
    const bool table = std::string(c.arch) == "nanogpt";
    const ModelShape shape{2, 4, table ? 4 : 2, 8, 32, 16, 11, 10000};
    const Architecture arch = architecture(table ? "nanogpt" : "llama");
    HeadWeights weights = random_heads(shape, true);
    if (table) weights.position = counting(16 * 32);
    emit(path_, arch, shape, weights, DType::f32, {});
    ModelFlags flags;
    ModelConfig config;
    config.origin = "c.json";
    if (table) flags.heads = 4;
    config.heads = 4;
    read_all(path_, arch, flags, config);  // fits before it is changed

    FileTensors tensors = load_tensors(path_);
    c.change(tensors, flags, config);
    save_tensors(path_, tensors);
    const std::string said =
        refusal_of<InputError>([&] { read_all(path_, architecture(c.arch), flags, config); });
    EXPECT_EQ(said.rfind(path_, 0), 0u) << c.name << ": " << said;
    EXPECT_EQ(said.find('\n'), std::string::npos);
    for (const std::string& part : c.says)
      EXPECT_NE(said.find(part), std::string::npos) << c.name << ": " << said;
  }
}

TEST_F(RefusedCheckpoint, AFileWithoutEmbeddingNeedsTheVocabularyGiven) {
  const ModelShape shape{2, 4, 2, 8, 32, 16, 11, 10000};
  const Architecture arch = architecture("llama");
  const HeadWeights weights = random_heads(shape, false);
  emit(path_, arch, shape, weights, DType::f32, {});
  const Checkpoint file(path_, arch);
  ModelFlags flags;
  flags.heads = 4;
  EXPECT_NE(refusal_of<UsageError>([&] { (void)file.shape(flags, {}); }).find("--model-vocab-size is needed"),
            std::string::npos);
  flags.vocab = 11;
  const ModelShape s = file.shape(flags, {});
  EXPECT_FALSE(file.has_embedding());
  EXPECT_EQ(s.d_model, 32);
  EXPECT_EQ(file.layer(s, 1).heads.output, weights.layers[1].output);
  EXPECT_NE(refusal_of<InputError>([&] {
              (void)file.embedding(s);
            }).find("has no tensor 'model.embed_tokens.weight'"),
            std::string::npos);
}

}  // namespace
}  // namespace aloft
