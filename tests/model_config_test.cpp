#include <gtest/gtest.h>

#include <string>

#include "host/error.hpp"
#include "pipeline/model/model_config.hpp"
#include "tools/aloft/builtin_architectures.hpp"

namespace {

using namespace aloft;

ModelConfig config(const std::string& text) {
  static const std::vector<Architecture> built_in = [] {
    std::vector<Architecture> all;
    for (const auto& a : builtin_architectures()) all.push_back(parse_architecture(a.json, a.name));
    return all;
  }();
  return parse_model_config(text, "config.json", built_in);
}
std::string config_refusal(const std::string& text) {
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
  EXPECT_FALSE(c.rope_scaling || c.rotary_fraction);
  EXPECT_TRUE(c.notes.empty() && c.unmet.empty());
}

TEST(ModelConfigParsing, RopeScaling) {
  const auto scaled = [](const std::string& text) {
    return config(R"({"model_type":"llama","rope_scaling":)" + text + "}");
  };
  ModelConfig c = scaled(R"({"type":"linear","factor":4.0})");
  EXPECT_EQ(c.rope_scaling->type, "linear");
  EXPECT_EQ(c.rope_scaling->factor, 4);
  c = scaled(
      R"({"rope_type":"llama3","factor":8.0,"low_freq_factor":0.5,"high_freq_factor":3,"original_max_position_embeddings":4096})");
  EXPECT_EQ(c.rope_scaling->type, "llama3");
  EXPECT_EQ(c.rope_scaling->factor, 8);
  EXPECT_EQ(c.rope_scaling->low_freq_factor, 0.5);
  EXPECT_EQ(c.rope_scaling->high_freq_factor, 3);
  EXPECT_EQ(c.rope_scaling->original_context, 4096);
  c = scaled(
      R"({"type":"yarn","original_max_position_embeddings":512,"beta_fast":16,"mscale":0.5,"truncate":false})");
  EXPECT_EQ(c.rope_scaling->factor, 4);  // 2048, the default of max_position_embeddings, over 512
  EXPECT_EQ(c.rope_scaling->beta_fast, 16);
  EXPECT_EQ(c.rope_scaling->mscale, 0.5);
  EXPECT_FALSE(c.rope_scaling->truncate || c.rope_scaling->attention_factor);
  c = scaled(R"({"type":"su","short_factor":[1,2],"long_factor":[3,4.5]})");
  EXPECT_EQ(c.rope_scaling->type, "longrope");
  EXPECT_EQ(c.rope_scaling->original_context, 2048);
  EXPECT_EQ(c.rope_scaling->long_factor, (std::vector<double>{3, 4.5}));
  EXPECT_EQ(scaled(R"({"rope_type":"default"})").rope_scaling->type, "none");
  c = config(R"({"model_type":"llama","rope_parameters":{"rope_type":"default","rope_theta":1e6}})");
  EXPECT_EQ(c.rope_base, 1e6);
  EXPECT_EQ(c.rope_scaling->type, "none");
  c = config(
      R"({"model_type":"llama","rope_parameters":{"full_attention":{"rope_theta":3e5,"rope_type":"default"},
    "sliding_attention":{"rope_theta":3e5,"rope_type":"default"}}})");
  EXPECT_EQ(c.rope_base, 3e5);
  EXPECT_TRUE(c.unmet.empty());
}

TEST(ModelConfigParsing, WhatATypeDoesNotReadIsIgnoredWithANote) {
  for (const char* more :
       {R"("partial_rotary_factor":0.5)", R"("rope_parameters":{"partial_rotary_factor":0.5})",
        R"("embedding_multiplier":12)", R"("no_rope_layers":[0,1])", R"("use_qk_norm":true)"}) {
    const ModelConfig c = config(std::string(R"({"model_type":"llama",)") + more + "}");
    EXPECT_FALSE(c.rotary_fraction || c.embedding_multiplier || !c.rotating.empty()) << more;
    ASSERT_EQ(c.notes.size(), 1u) << more;
    EXPECT_NE(c.notes[0].find("models of type 'llama' do not read "), std::string::npos) << c.notes[0];
  }
  EXPECT_TRUE(
      config(R"({"model_type":"llama","partial_rotary_factor":1.0,"embedding_multiplier":1})").notes.empty());
  EXPECT_EQ(config(R"({"model_type":"phi3","partial_rotary_factor":0.75})").rotary_fraction, 0.75);
  EXPECT_EQ(
      config(R"({"model_type":"phi3","rope_parameters":{"partial_rotary_factor":0.75}})").rotary_fraction,
      0.75);
  EXPECT_EQ(
      config(R"({"model_type":"gpt_neox","rope_parameters":{"partial_rotary_factor":0.5}})").rotary_fraction,
      0.5);
}

TEST(ModelConfigParsing, WhatIsLeftOutIsWhatTheLibraryBuilds) {
  const ModelConfig llama = config(R"({"model_type":"llama"})");
  EXPECT_EQ(llama.tied_head, false);
  EXPECT_EQ(llama.layers, 32);
  EXPECT_EQ(llama.head_dim, 128);
  EXPECT_EQ(llama.rope_base, 10000);
  EXPECT_FALSE(llama.kv_heads);  // as many as heads
  EXPECT_EQ(config(R"({"model_type":"mistral"})").kv_heads, 8);
  EXPECT_FALSE(config(R"({"model_type":"mistral","num_key_value_heads":null})").kv_heads);
  EXPECT_EQ(config(R"({"model_type":"gpt2"})").tied_head, true);
  EXPECT_EQ(config(R"({"model_type":"gpt2","hidden_size":96})").d_model, 96);
  EXPECT_EQ(config(R"({"model_type":"starcoder2"})").tied_head, true);
  EXPECT_EQ(config(R"({"model_type":"mixtral"})").rope_base, 1e6);
  EXPECT_EQ(config(R"({"model_type":"seed_oss"})").head_dim, 128);
  EXPECT_EQ(config(R"({"model_type":"granite"})").score_scale, 1);
  const ModelConfig smollm = config(R"({"model_type":"smollm3"})");
  EXPECT_EQ(smollm.unrotated_every, 4);
  EXPECT_EQ(config(R"({"model_type":"smollm3","no_rope_layers":[1,0]})").rotating,
            (std::vector<bool>{true, false}));
}

TEST(ModelConfigParsing, GraniteMultiplies) {
  const ModelConfig c =
      config(R"({"model_type":"granite","embedding_multiplier":12,"residual_multiplier":0.22,
    "logits_scaling":8,"attention_multiplier":0.0078125})");
  const Architecture a = specialize({}, c);
  EXPECT_EQ(a.embedding_multiplier, 12);
  EXPECT_EQ(a.residual_multiplier, 0.22);
  EXPECT_EQ(a.logits_multiplier, 0.125);
  EXPECT_EQ(a.score_scale, 0.0078125);
}

TEST(ModelConfigParsing, MistralQwenAndGivenHeadDimension) {
  const ModelConfig mistral =
      config(R"({"model_type":"mistral","hidden_size":5120,"num_attention_heads":32,"head_dim":128,
    "num_key_value_heads":8,"sliding_window":4096})");
  EXPECT_EQ(mistral.architecture, "llama");
  EXPECT_EQ(mistral.head_dim, 128);  // not 160
  const ModelConfig qwen = config(R"({"model_type":"qwen2","tie_word_embeddings":true,"head_dim":null})");
  EXPECT_EQ(qwen.architecture, "llama");
  EXPECT_EQ(qwen.tied_head, true);
  EXPECT_EQ(qwen.attention_bias, true);
  EXPECT_EQ(qwen.head_dim, 128);
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
  EXPECT_FALSE(gpt2.kv_heads || gpt2.rope_base);
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
    EXPECT_EQ(config_refusal(text), "config.json: " + message);
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
  expect(R"({"rope_theta":5,"rope_parameters":{"rope_theta":7}})",
         "rope_parameters.rope_theta: 7 contradicts 5 in another place of the file");
  expect(R"({"rope_scaling":{"type":"linear","factor":2},"rope_parameters":{"rope_type":"default"}})",
         "rope_parameters.rope_type: contradicts another place of the file");
  expect(R"({"no_rope_layers":[2]})", "no_rope_layers: an array of 0 and 1 is needed");
  expect(R"({"rope_scaling":{"type":"longrope","short_factor":[0]}})",
         "rope_scaling.short_factor: numbers above 0 are needed");
  expect(R"({"text_config":{"hidden_size":-1}})",
         "text_config.hidden_size: a positive whole number is needed, not the number -1");
  EXPECT_EQ(config_refusal("nonsense"), "config.json: not valid JSON at byte 2");
}

std::string misfit(const ModelFlags& flags, const ModelConfig& c, const Architecture& arch) {
  try {
    (void)resolve_shape(flags, c, arch, 100);
    return "";
  } catch (const UsageError& e) {
    return e.what();
  }
}

TEST(ModelShapes, WhatIsMissingIsNamedAsTheFileWouldNameIt) {
  const Architecture none;
  EXPECT_EQ(misfit({}, {}, none), "--layers is needed (or --model-config with a Hugging Face config.json)");
  EXPECT_EQ(misfit({}, config("{}"), none),
            "--layers is needed: config.json has none of num_hidden_layers, n_layer, num_layers, n_layers");
  EXPECT_EQ(misfit({}, config(R"({"num_layers":2})"), none),
            "--d-model is needed: config.json has none of hidden_size, n_embd, d_model");
  const ModelConfig neo = config(R"({"model_type":"gpt_neo","num_layers":3,"num_heads":4,"hidden_size":64})");
  EXPECT_EQ(neo.layers, 3);
  EXPECT_EQ(neo.heads, 4);
}

TEST(ModelShapes, ARotaryBaseIsForRotaryPositions) {
  Architecture arch;
  arch.name = "mine";
  ModelFlags flags;
  flags.layers = 2;
  flags.d_model = 64;
  flags.rope_base = 500;
  EXPECT_EQ(misfit(flags, {}, arch), "--rope-base: architecture mine has no rotary positions");
  arch.position = Architecture::Position::rope;
  EXPECT_EQ(misfit(flags, {}, arch), "");
}

}  // namespace
