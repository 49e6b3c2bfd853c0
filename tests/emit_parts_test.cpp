#include <map>

#include "tests/emit_helpers.hpp"

// The parts of a checkpoint that only some recipes design: output head, position table, final norm, MLP
// output projections; in both orientations.

namespace aloft {
namespace {

HeadWeights with_parts(const ModelShape& s, bool tied) {
  HeadWeights w = random_heads(s, true);
  std::mt19937 random(9);
  std::normal_distribution<float> normal;
  const auto fill = [&](std::int64_t n) {
    std::vector<float> x(static_cast<std::size_t>(n));
    for (float& v : x) v = normal(random);
    return x;
  };
  if (!tied) w.head = fill(s.vocab * s.d_model);
  w.position = fill(s.context * s.d_model);
  w.final_norm = fill(s.d_model);
  w.final_norm_bias = fill(s.d_model);
  for (std::int64_t l = 0; l < s.layers; ++l) w.mlp_output.push_back(fill(s.d_model * s.mlp_width));
  return w;
}
ModelShape small(std::int64_t mlp) {
  ModelShape s{2, 2, 2, 4, 8, 6, 5, 10000};
  s.mlp_width = mlp;
  return s;
}
UsageError refusal(const Architecture& a, const ModelShape& s, const HeadWeights& w) {
  try {
    (void)emitted_tensors(a, s, w, DType::f32);
  } catch (const UsageError& e) {
    return e;
  }
  return UsageError("");
}

TEST_F(Emit, EveryPartLiesUnderItsName) {
  const ModelShape s = small(12);
  const HeadWeights w = with_parts(s, /*tied=*/true);
  emit(path_, architecture("gpt2"), s, w, DType::f32, {});  // Conv1D: [in, out]
  const SafetensorsReader file(path_);
  EXPECT_EQ(file.read<float>("transformer.wte.weight", {5, 8}), w.embedding);
  EXPECT_EQ(file.read<float>("transformer.wpe.weight", {6, 8}), w.position);
  EXPECT_EQ(file.read<float>("transformer.ln_f.weight", {8}), w.final_norm);
  EXPECT_EQ(file.read<float>("transformer.ln_f.bias", {8}), w.final_norm_bias);
  EXPECT_FALSE(file.contains("lm_head.weight"));
  for (std::size_t l = 0; l < 2; ++l) {
    const auto stored =
        file.read<float>("transformer.h." + std::to_string(l) + ".mlp.c_proj.weight", {12, 8});
    for (std::size_t i = 0; i < 12; ++i)
      for (std::size_t o = 0; o < 8; ++o) EXPECT_EQ(stored[i * 8 + o], w.mlp_output[l][o * 12 + i]);
  }
}

TEST_F(Emit, LinearLayersKeepTheMlpAsItIs) {
  const ModelShape s = small(20);
  HeadWeights w = with_parts(s, /*tied=*/false);
  w.position.clear();
  w.final_norm_bias.clear();
  emit(path_, architecture("llama"), s, w, DType::f32, {});
  const SafetensorsReader file(path_);
  EXPECT_EQ(file.read<float>("lm_head.weight", {5, 8}), w.head);
  EXPECT_EQ(file.read<float>("model.norm.weight", {8}), w.final_norm);
  for (std::size_t l = 0; l < 2; ++l)
    EXPECT_EQ(file.read<float>("model.layers." + std::to_string(l) + ".mlp.down_proj.weight", {8, 20}),
              w.mlp_output[l]);
  std::map<std::string, std::vector<std::int64_t>> declared;
  for (const TensorInfo& t : emitted_tensors(architecture("llama"), s, w, DType::f32))
    declared[t.name] = t.shape;
  EXPECT_EQ(declared.size(), file.tensors().size());
  for (const TensorInfo& t : file.tensors()) EXPECT_EQ(declared.at(t.name), t.shape) << t.name;
}

TEST_F(Emit, WhatTheModelMultipliesByIsDividedOut) {
  const ModelShape s = small(20);
  for (const bool tied : {false, true}) {
    const HeadWeights w = with_parts(s, tied);
    Architecture a = architecture("nanogpt");
    a.final_norm_bias = "bias";
    a.tied_head = tied;
    a.embedding_multiplier = 4;
    a.residual_multiplier = 0.25;
    a.logits_multiplier = 0.5;
    emit(path_, a, s, w, DType::f32, {});
    const SafetensorsReader file(path_);
    const auto expect = [&](const std::string& name, const std::vector<std::int64_t>& shape,
                            std::vector<float> value, float factor) {
      for (float& x : value) x *= factor;
      EXPECT_EQ(file.read<float>(name, shape), value) << name << tied;
    };
    expect("transformer.wte.weight", {5, 8}, w.embedding, 0.25F);
    expect("transformer.wpe.weight", {6, 8}, w.position, 1);
    if (!tied) expect("lm_head.weight", {5, 8}, w.head, 2);
    // tied: logits = 0.5 (E/4) g' x, so g' = 8 g
    expect("transformer.ln_f.weight", {8}, w.final_norm, tied ? 8.0F : 1.0F);
    expect("bias", {8}, w.final_norm_bias, tied ? 8.0F : 1.0F);
    expect("transformer.h.1.mlp.c_proj.weight", {8, 20}, w.mlp_output[1], 4);
    const auto output = file.read<float>("transformer.h.1.attn.c_proj.weight", {8, 8});
    for (std::size_t i = 0; i < 8; ++i)
      for (std::size_t o = 0; o < 8; ++o) EXPECT_EQ(output[o * 8 + i], 4 * w.layers[1].output[i * 8 + o]);
  }
}

TEST_F(Emit, PartsAreRoundedToTheDtype) {
  const ModelShape s = small(12);
  const HeadWeights w = with_parts(s, true);
  emit(path_, architecture("gpt2"), s, w, DType::bf16, {});
  const SafetensorsReader file(path_);
  const auto norm = file.read_real("transformer.ln_f.bias", {8});
  for (std::size_t i = 0; i < 8; ++i)
    EXPECT_NEAR(norm[i], w.final_norm_bias[i], std::abs(w.final_norm_bias[i]) / 128);
  HeadWeights large = w;
  large.final_norm[3] = 70000;
  EXPECT_THROW(emit(path_, architecture("gpt2"), s, large, DType::f16, {}), NumericError);
  large = w;
  large.mlp_output[1][5] = std::nanf("");
  EXPECT_THROW(emit(path_, architecture("gpt2"), s, large, DType::f32, {}), NumericError);
}

TEST_F(Emit, PartsThatTheArchitectureDoesNotNameAreRefused) {
  const ModelShape s = small(12);
  const HeadWeights w = with_parts(s, false);
  const auto said = [&](Architecture a, const char* part) {
    const std::string message = refusal(a, s, w).what();
    EXPECT_NE(message.find(a.name), std::string::npos);
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  said(architecture("llama"), "position table");
  Architecture a = architecture("gpt2");
  a.final_norm_bias.clear();
  said(a, "final norm's bias");
  a.final_norm.clear();
  said(a, "final norm");
  a = architecture("gpt2");
  a.mlp_output.clear();
  said(a, "MLP output projection");
  a.head.clear();
  said(a, "head");
}

TEST_F(Emit, PartsOfAnotherSizeAreRefused) {
  const ModelShape s = small(12);
  for (const auto part : {&HeadWeights::position, &HeadWeights::final_norm, &HeadWeights::final_norm_bias}) {
    HeadWeights w = with_parts(s, true);
    (w.*part).pop_back();
    EXPECT_THROW(emit(path_, architecture("gpt2"), s, w, DType::f32, {}), Error);
  }
  HeadWeights w = with_parts(s, true);
  w.mlp_output.pop_back();
  EXPECT_THROW(emit(path_, architecture("gpt2"), s, w, DType::f32, {}), Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

}  // namespace
}  // namespace aloft
