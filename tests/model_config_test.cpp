#include <gtest/gtest.h>

#include <string>

#include "host/error.hpp"
#include "pipeline/model/model_config.hpp"

namespace {

using namespace aloft;

ModelConfig config(const std::string& text) { return parse_model_config(text, "config.json"); }
std::string refusal(const std::string& text) {
  try {
    (void)config(text);
    return "";
  } catch (const InputError& e) {
    return e.what();
  }
}

TEST(ModelConfigParsing, Llama) {
  const ModelConfig c =
      config(R"({"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":4096,
    "num_hidden_layers":32,"num_attention_heads":32,"num_key_value_heads":8,"max_position_embeddings":8192,
    "vocab_size":128256,"rope_theta":500000.0,"rope_scaling":null,"tie_word_embeddings":false,"attention_bias":false,
    "initializer_range":0.02,"rms_norm_eps":1e-05,"torch_dtype":"bfloat16","pretraining_tp":1})");
  EXPECT_EQ(c.architecture, "llama");
  EXPECT_EQ(c.layers, 32);
  EXPECT_EQ(c.heads, 32);
  EXPECT_EQ(c.kv_heads, 8);
  EXPECT_EQ(c.head_dim, 128);  // hidden_size / heads
  EXPECT_EQ(c.d_model, 4096);
  EXPECT_EQ(c.context, 8192);
  EXPECT_EQ(c.vocab, 128256);
  EXPECT_EQ(c.rope_base, 5e5);
  EXPECT_EQ(c.tied_head, false);
  EXPECT_EQ(c.attention_bias, false);
  EXPECT_EQ(c.init_std, 0.02);
  EXPECT_FALSE(c.rope_scaling || c.rope_scaling_factor || c.rotary_fraction);
}

TEST(ModelConfigParsing, RopeScaling) {
  const auto scaled = [](const std::string& text) {
    return config(R"({"model_type":"llama","rope_scaling":)" + text + "}");
  };
  ModelConfig c = scaled(R"({"type":"linear","factor":4.0})");
  EXPECT_EQ(c.rope_scaling, "linear");
  EXPECT_EQ(c.rope_scaling_factor, 4);
  c = scaled(
      R"({"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"original_max_position_embeddings":8192})");
  EXPECT_EQ(c.rope_scaling, "llama3");
  EXPECT_EQ(c.rope_scaling_factor, 8);
  EXPECT_EQ(scaled(R"({"rope_type":"default"})").rope_scaling, "none");
  c = config(
      R"({"model_type":"llama","rope_parameters":{"rope_type":"default","rope_theta":1e6,"partial_rotary_factor":0.5}})");
  EXPECT_EQ(c.rope_base, 1e6);
  EXPECT_EQ(c.rotary_fraction, 0.5);
  EXPECT_EQ(c.rope_scaling, "none");
}

TEST(ModelConfigParsing, MistralQwenAndGivenHeadDimension) {
  const ModelConfig mistral =
      config(R"({"model_type":"mistral","hidden_size":5120,"num_attention_heads":32,"head_dim":128,
    "num_key_value_heads":8,"sliding_window":4096})");
  EXPECT_EQ(mistral.architecture, "llama");
  EXPECT_EQ(mistral.head_dim, 128);  // not 160
  EXPECT_FALSE(mistral.attention_bias.has_value());
  const ModelConfig qwen = config(R"({"model_type":"qwen2","tie_word_embeddings":true,"head_dim":null})");
  EXPECT_EQ(qwen.architecture, "llama");
  EXPECT_EQ(qwen.tied_head, true);
  EXPECT_EQ(qwen.attention_bias, true);
  EXPECT_FALSE(qwen.head_dim.has_value());
  EXPECT_EQ(config(R"({"model_type":"qwen3"})").architecture, "");  // normalises q and k
  EXPECT_EQ(config(R"({"model_type":"gemma"})").architecture, "");
  EXPECT_EQ(config("{}").architecture, "");
}

TEST(ModelConfigParsing, Gpt2AndNeoxAndGptj) {
  const ModelConfig gpt2 =
      config(R"({"model_type":"gpt2","n_layer":12,"n_head":12,"n_embd":768,"n_positions":1024,
    "n_ctx":1024,"vocab_size":50257,"scale_attn_weights":true,"attn_pdrop":0.1})");
  EXPECT_EQ(gpt2.architecture, "gpt2");
  EXPECT_EQ(gpt2.layers, 12);
  EXPECT_EQ(gpt2.heads, 12);
  EXPECT_EQ(gpt2.head_dim, 64);
  EXPECT_EQ(gpt2.d_model, 768);
  EXPECT_EQ(gpt2.context, 1024);
  EXPECT_EQ(gpt2.vocab, 50257);
  EXPECT_FALSE(gpt2.kv_heads || gpt2.rope_base || gpt2.tied_head);
  const ModelConfig neox = config(R"({"model_type":"gpt_neox","hidden_size":512,"num_hidden_layers":6,
    "num_attention_heads":8,"rotary_pct":0.25,"rotary_emb_base":10000,"max_position_embeddings":2048,"vocab_size":50304,
    "use_parallel_residual":true,"tie_word_embeddings":false})");
  EXPECT_EQ(neox.architecture, "neox");
  EXPECT_EQ(neox.rotary_fraction, 0.25);
  EXPECT_EQ(neox.rope_base, 10000);
  EXPECT_EQ(neox.head_dim, 64);
  const ModelConfig gptj =
      config(R"({"model_type":"gptj","n_head":16,"n_embd":4096,"rotary_dim":64,"n_layer":28})");
  EXPECT_EQ(gptj.architecture, "");
  EXPECT_EQ(gptj.rotary_fraction, 0.25);
}

TEST(ModelConfigParsing, ARotaryDimensionSurvivesTheFraction) {
  const Architecture arch = [] {
    Architecture a;
    a.position = Architecture::Position::rope;
    return a;
  }();
  for (std::int64_t width = 2; width <= 256; ++width)
    for (std::int64_t rotary = 2; rotary <= width; rotary += 2) {
      Architecture a = arch;
      a.rotary_fraction = *config("{\"n_head\":1,\"n_embd\":" + std::to_string(width) +
                                  ",\"rotary_dim\":" + std::to_string(rotary) + "}")
                               .rotary_fraction;
      ASSERT_EQ(rotary_dim(a, {1, 1, 1, width, width, 1, 1, 10000}), rotary) << width;
    }
}

TEST(ModelConfigParsing, ValuesThatCannotBeAreNamed) {
  const auto expect = [](const std::string& text, const std::string& message) {
    EXPECT_EQ(refusal(text), "config.json: " + message);
  };
  expect(R"({"hidden_size":"big"})",
         "hidden_size: a positive whole number is needed, not a value of type string");
  expect(R"({"hidden_size":-1})", "hidden_size: a positive whole number is needed, not the number -1");
  expect(R"({"hidden_size":0})", "hidden_size: 0 is not in 1..2^31");
  expect(R"({"hidden_size":512.0})", "hidden_size: a positive whole number is needed, not the number 512.0");
  expect(R"({"hidden_size":512,"n_embd":768})", "n_embd: 768 contradicts 512 under another name");
  expect(R"({"hidden_size":100,"num_attention_heads":3})",
         "hidden_size: 100 is not a multiple of the 3 heads, and head_dim is not given");
  expect(R"({"num_attention_heads":8,"num_key_value_heads":3})",
         "num_key_value_heads: 3 does not divide the 8 heads");
  expect(R"({"rope_scaling":{"type":"linear"}})", "rope_scaling.factor: is missing (scaling is linear)");
  expect(R"({"rope_scaling":"linear"})", "rope_scaling: an object is needed, not a value of type string");
  expect(R"({"rope_theta":0.5})", "rope_theta: 0.5 is out of range: above 1 to 1000000000000");
  expect(R"({"tie_word_embeddings":1})", "tie_word_embeddings: true or false is needed, not the number 1");
  expect(R"({"n_head":1,"n_embd":32,"rotary_dim":64})", "rotary_dim: 64 is more than the head dimension 32");
  expect(R"({"model_type":"gpt2","scale_attn_by_inverse_layer_idx":true})",
         "scale_attn_by_inverse_layer_idx: is true; scores scaled by depth are not supported");
  EXPECT_NE(refusal(R"({"model_type":"gpt2","scale_attn_weights":false})"), "");
  EXPECT_EQ(refusal("nonsense"), "config.json: not valid JSON at byte 2");
}

}  // namespace
