#include "pipeline/model/model_types.hpp"

#include <gtest/gtest.h>

#include "host/error.hpp"
#include "tests/emit_helpers.hpp"

// Which config.json fits which --arch, and what the others are refused for. tests/python/test_model_types.py
// does the same with the library's own files and models.

namespace aloft {
namespace {

std::vector<Architecture> built_ins() {
  std::vector<Architecture> out;
  for (const auto& a : builtin_architectures()) out.push_back(parse_architecture(a.json, a.name));
  return out;
}
ModelConfig config(const std::string& text) { return parse_model_config(text, "c.json", built_ins()); }
ModelConfig of_type(const std::string& type, const std::string& more = "") {
  return config(R"({"model_type":")" + type + "\"" + (more.empty() ? "" : "," + more) + "}");
}

/// The error of taking this config for that built-in ("": whichever its type belongs to); "" for none.
std::string refusal(const ModelConfig& c, const std::string& arch) {
  try {
    const auto all = built_ins();
    const std::string name = arch.empty() ? architecture_of(c, all) : arch;
    const Architecture chosen = architecture(name);
    (void)check_model_type(c, {chosen, name, true}, all);
    return "";
  } catch (const Error& e) {
    return e.what();
  }
}
#define EXPECT_SAYS(message, part)                                     \
  do {                                                                 \
    const std::string said = message;                                  \
    EXPECT_NE(said.find(part), std::string::npos) << "says: " << said; \
  } while (false)

TEST(ModelTypes, WhatBuiltInsFitIsTakenForThem) {
  for (const auto& [type, arch] :
       std::vector<std::pair<std::string, std::string>>{{"llama", "llama"},
                                                        {"mistral", "llama"},
                                                        {"qwen2", "llama"},
                                                        {"seed_oss", "llama"},
                                                        {"granite", "llama"},
                                                        {"smollm3", "llama"},
                                                        {"mixtral", "mixtral"},
                                                        {"qwen2_moe", "mixtral"},
                                                        {"granitemoe", "mixtral"},
                                                        {"arcee", "arcee"},
                                                        {"olmo", "olmo"},
                                                        {"starcoder2", "starcoder2"},
                                                        {"phi3", "phi3"},
                                                        {"gpt2", "gpt2"},
                                                        {"gpt_neox", "neox"}}) {
    EXPECT_EQ(config(R"({"model_type":")" + type + "\"}").architecture, arch);
    EXPECT_EQ(refusal(of_type(type), ""), "") << type;
    EXPECT_EQ(refusal(of_type(type), arch), "") << type;
  }
}

TEST(ModelTypes, WhatFitsNoneIsRefusedByNameWithAndWithoutAnArchitecture) {
  for (const char* type :
       {"gemma",       "gemma2",  "gemma3", "gemma3_text", "olmo2",  "olmo3",    "olmoe",
        "cohere",      "cohere2", "qwen3",  "qwen3_moe",   "helium", "nanochat", "stablelm",
        "glm4",        "phi",     "falcon", "bloom",       "gptj",   "gpt_neo",  "gpt_bigcode",
        "deepseek_v3", "gpt_oss", "llama4", "jamba",       "mpt",    "opt"})
    for (const char* arch : {"", "llama", "neox", "gpt2", "nanogpt-rope"}) {
      EXPECT_SAYS(refusal(of_type(type), arch), std::string("c.json: model_type '") + type + "' has ");
    }
  EXPECT_EQ(
      refusal(of_type("gemma2"), "llama"),
      "c.json: model_type 'gemma2' has a multiplied embedding, norm gains that count from 1 (1 + w), norms "
      "after attention and MLP and soft caps on scores and logits, which --arch llama has not: its design "
      "would not fit that model");
  EXPECT_SAYS(refusal(of_type("qwen3"), "llama"), "normalised queries and keys (QK-norm)");
  EXPECT_SAYS(refusal(of_type("stablelm"), "llama"), "LayerNorm and heads of which a part rotates");
  EXPECT_SAYS(refusal(of_type("olmo2"), "llama"), "no norm before attention");
  EXPECT_SAYS(refusal(of_type("falcon"), "neox"), "tensors of other names or layouts, which --arch neox");
}

// With or without the field that says so, and whatever is named like a decoder's sizes.
TEST(ModelTypes, EncodersAreRefusedByName) {
  for (const char* type : {"bert", "roberta", "xlm-roberta", "electra", "albert", "deberta-v2", "distilbert",
                           "modernbert", "t5", "mt5", "bart", "marian", "whisper", "xlnet"})
    for (const char* arch : {"", "llama", "neox", "gpt2", "nanogpt-rope"})
      EXPECT_SAYS(refusal(of_type(type), arch), std::string("c.json: model_type '") + type + "' has ");
  EXPECT_EQ(
      refusal(of_type("bert"), "llama"),
      "c.json: model_type 'bert' has attention to both sides (it is an encoder), which --arch llama has "
      "not: its design would not fit that model");
  EXPECT_SAYS(refusal(of_type("t5"), ""), "has an encoder, and no architecture can say that");
  EXPECT_SAYS(refusal(of_type("helium"), ""), "one of your own (--arch FILE.json) can be");
}

TEST(ModelTypes, DecodersThatFitNoneAreRefusedThoughTheirFieldsSayNothing) {
  for (const auto& [type, what] :
       std::vector<std::pair<std::string, std::string>>{{"dots1", "QK-norm"},
                                                        {"qwen3_vl_text", "QK-norm"},
                                                        {"flex_olmo", "no norm before attention"},
                                                        {"falcon_mamba", "layers that are no attention"},
                                                        {"nemotron_h", "layers that are no attention"},
                                                        {"ernie4_5_moe", "rotary pairs of neighbouring rows"},
                                                        {"granitemoe_swa", "attention sinks"},
                                                        {"jetmoe", "heads that a router chooses"},
                                                        {"biogpt", "learned positions"},
                                                        {"openai-gpt", "no norm before attention"},
                                                        {"xglm", "positions from fixed sines"}}) {
    EXPECT_SAYS(refusal(of_type(type), "llama"), what);
  }
}

// The type is the reason to hear, not a size that no design would use.
TEST(ModelTypes, OfATypeThatFitsNoneAFieldThatCannotBeReadComesSecond) {
  const std::string sizes = R"("hidden_size":512,"num_attention_heads":6)";
  EXPECT_SAYS(refusal(of_type("mt5", sizes), "llama"), "model_type 'mt5' has an encoder");
  EXPECT_SAYS(refusal(of_type("gemma3n", R"("intermediate_size":[1,2])"), ""), "model_type 'gemma3n' has ");
  Architecture own = architecture("llama");
  own.pairing = Architecture::Pairing::interleaved;
  try {
    (void)check_model_type(of_type("helium", sizes), {own, "mine.json", false}, built_ins());
    FAIL() << "a head of 85.3 rows";
  } catch (const InputError& e) {
    EXPECT_SAYS(e.what(), "c.json: hidden_size: 512 is not a multiple of the 6 heads");
  }
}

TEST(ModelTypes, AFittingTypeIsRefusedForAnotherArchitecture) {
  EXPECT_SAYS(refusal(of_type("llama"), "neox"),
              "has the tensors of --arch llama, which --arch neox has not");
  EXPECT_SAYS(refusal(of_type("olmo"), "llama"), "has the tensors of --arch olmo");
  EXPECT_SAYS(refusal(of_type("gpt2"), "nanogpt-rope"), "has LayerNorm and learned positions");
  EXPECT_EQ(refusal(of_type("gpt2"), "nanogpt"), "");  // not Hugging Face's, but such a model: its sizes
  EXPECT_EQ(refusal(of_type("llama"), "nanogpt-rope"), "");
}

TEST(ModelTypes, AFileOfOnesOwnMayFitWhatNoBuiltInDoes) {
  Architecture own = architecture("llama");
  own.name = "mine";
  const auto all = built_ins();
  const auto notes = [&](const ModelConfig& c) {
    return check_model_type(c, {own, "mine.json", false}, all);
  };
  EXPECT_THROW((void)notes(of_type("helium")), UsageError);
  own.pairing = Architecture::Pairing::interleaved;
  EXPECT_TRUE(notes(of_type("helium")).empty());
  EXPECT_THROW((void)notes(of_type("llama")), UsageError);
  EXPECT_THROW((void)notes(of_type("gptj")), UsageError);
  own.norm = Architecture::Norm::layernorm;
  own.rotary_fraction = 0.5;
  EXPECT_TRUE(notes(of_type("gptj")).empty());
  own.qk_norm = true;
  EXPECT_THROW((void)notes(of_type("gpt_neox")), UsageError);
}

TEST(ModelTypes, AnUnknownTypeIsTakenOnTrustWithANote) {
  EXPECT_SAYS(
      refusal(of_type("foo"), ""),
      "c.json: model_type 'foo' is not one that aloft knows (arcee, gpt2, gpt_neox, granite, granitemoe, "
      "llama,");
  EXPECT_SAYS(refusal(config("{}"), ""), "c.json: it names no model_type: give --arch");
  const auto all = built_ins();
  const Architecture llama = architecture("llama");
  const auto notes = check_model_type(of_type("foo"), {llama, "llama", true}, all);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_SAYS(notes[0], "model_type 'foo' is not one that aloft knows: taken as llama, as --arch says");
  EXPECT_EQ(check_model_type(config("{}"), {llama, "llama", true}, all).size(), 1u);
  EXPECT_TRUE(check_model_type(ModelConfig{}, {llama, "llama", true}, all).empty());
}

TEST(ModelTypes, FieldsOfAnUnknownTypeThatContradictAreNamed) {
  for (const auto& [field, what] : std::vector<std::pair<std::string, std::string>>{
           {R"("use_qk_norm":true)", "normalised queries and keys (QK-norm) (use_qk_norm)"},
           {R"("qk_layernorm":true)", "(qk_layernorm)"},
           {R"("attn_logit_softcapping":50.0)", "soft caps on scores and logits (attn_logit_softcapping)"},
           {R"("final_logit_softcapping":30)", "a soft cap on logits"},
           {R"("clip_qkv":8.0)", "clipped queries, keys and values (clip_qkv)"},
           {R"("query_pre_attn_scalar":256)", "(query_pre_attn_scalar)"},
           {R"("scale_emb":12)", "a multiplied embedding (scale_emb)"},
           {R"("alibi":true)", "ALiBi (alibi)"},
           {R"("kv_lora_rank":512)", "latent attention (MLA) (kv_lora_rank)"},
           {R"("is_encoder_decoder":true)", "an encoder"},
           {R"("layer_types":["full_attention","linear_attention"])",
            "layer_types: 'linear_attention' is no attention"},
           {R"("layer_types":["conv"])", "layer_types: 'conv'"},
           {R"("sliding_window":8)", "sliding_window: 8 hides what heads look at"}}) {
    EXPECT_SAYS(refusal(of_type("foo", field), "llama"), what);
  }
  EXPECT_EQ(refusal(of_type("foo", R"("use_qk_norm":false,"attn_logit_softcapping":null,"clip_qkv":null,
      "layer_types":["full_attention","sliding_attention"],"sliding_window":9,"embedding_multiplier":2)"),
                    "llama"),
            "");
  EXPECT_EQ(refusal(of_type("foo", R"("sliding_window":8,"use_sliding_window":false)"), "llama"), "");
}

TEST(ModelTypes, FieldsThatAFittingTypeMustNotHave) {
  EXPECT_SAYS(refusal(of_type("olmo", R"("clip_qkv":8.0)"), ""),
              "c.json: clip_qkv: models of type 'olmo' fit where this is null, not 8.0");
  EXPECT_EQ(refusal(of_type("olmo", R"("clip_qkv":null)"), ""), "");
  EXPECT_SAYS(refusal(of_type("gpt2", R"("scale_attn_weights":false)"), ""), "scale_attn_weights: ");
  EXPECT_SAYS(refusal(of_type("gpt2", R"("scale_attn_by_inverse_layer_idx":true)"), "gpt2"),
              "inverse_layer_idx: ");
  EXPECT_SAYS(refusal(of_type("mistral", R"("sliding_window":4)"), ""), "sliding_window: 4");
  EXPECT_SAYS(refusal(of_type("llama",
                              R"("rope_parameters":{"full_attention":{"rope_theta":1e6,"rope_type":"default"},
      "sliding_attention":{"rope_theta":1e4,"rope_type":"default"}})"),
                      ""),
              "rope_parameters: layers of type 'sliding_attention' rotate otherwise than those of type "
              "'full_attention' (rope_theta 10000 and 1000000)");
}

TEST(ModelTypes, ANestedLanguageModelIsRead) {
  const std::string gemma =
      R"({"model_type":"gemma3","text_config":{"model_type":"gemma3_text","hidden_size":64}})";
  EXPECT_SAYS(refusal(config(gemma), "llama"), "model_type 'gemma3_text' of text_config in 'gemma3' has ");
  const ModelConfig llava = config(
      R"({"model_type":"llava","tie_word_embeddings":true,"text_config":{"model_type":"mistral","hidden_size":512}})");
  EXPECT_EQ(llava.architecture, "llama");
  EXPECT_EQ(llava.d_model, 512);
  EXPECT_EQ(llava.layers, 32);
  EXPECT_EQ(llava.tied_head, true);
  EXPECT_EQ(refusal(llava, ""), "");
  ASSERT_EQ(llava.notes.size(), 1u);
  EXPECT_SAYS(llava.notes[0], "its text_config is read");
}

}  // namespace
}  // namespace aloft
