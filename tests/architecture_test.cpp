#include "pipeline/model/architecture.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "host/error.hpp"
#include "tests/paths.hpp"
#include "tools/aloft/builtin_architectures.hpp"

namespace {

using namespace aloft;
using nlohmann::json;

std::string built_in(const std::string& name) {
  for (const auto& a : builtin_architectures())
    if (a.name == name) return a.json;
  throw Error("no built-in " + name);
}

std::string architecture_refusal(const std::string& text) {
  try {
    (void)parse_architecture(text, "mine.json");
    return "";
  } catch (const InputError& e) {
    return e.what();
  }
}

TEST(ArchitectureParsing, BuiltInsAreWhatTheyAreCalled) {
  std::set<std::string> names;
  for (const auto& a : builtin_architectures()) {
    EXPECT_EQ(parse_architecture(a.json, a.name).name, a.name);
    names.insert(a.name);
  }
  std::set<std::string> files;  // every description there is, and nothing else
  for (const auto& entry : std::filesystem::directory_iterator(source_folder() + "/tools/architectures"))
    if (entry.path().extension() == ".json") files.insert(entry.path().stem());
  EXPECT_EQ(names, files);
  EXPECT_TRUE(names.contains("llama"));

  const Architecture neox = parse_architecture(built_in("neox"), "neox");
  EXPECT_EQ(neox.fusion, Architecture::Fusion::interleaved_by_head);
  EXPECT_EQ(neox.orientation, Architecture::Orientation::out_in);
  EXPECT_EQ(neox.qkv, "gpt_neox.layers.{layer}.attention.query_key_value.weight");
  EXPECT_EQ(neox.position, Architecture::Position::rope);
  EXPECT_EQ(neox.rotary_fraction, 0.25);
  EXPECT_EQ(neox.norm, Architecture::Norm::layernorm);
  EXPECT_TRUE(neox.attention_bias);
  EXPECT_FALSE(neox.tied_head);
  EXPECT_EQ(neox.head, "embed_out.weight");

  const Architecture gpt2 = parse_architecture(built_in("gpt2"), "gpt2");
  EXPECT_EQ(gpt2.orientation, Architecture::Orientation::in_out);
  EXPECT_EQ(gpt2.position_embedding, "transformer.wpe.weight");
  EXPECT_TRUE(gpt2.tied_head);
  EXPECT_TRUE(gpt2.init_residual_scaled);
  EXPECT_EQ(gpt2.final_norm, "transformer.ln_f.weight");
  EXPECT_EQ(gpt2.final_norm_bias, "transformer.ln_f.bias");
  EXPECT_EQ(gpt2.mlp_output, "transformer.h.{layer}.mlp.c_proj.weight");
  EXPECT_EQ(gpt2.mlp_ratio, 4);

  const Architecture llama = parse_architecture(built_in("llama"), "llama");
  EXPECT_TRUE(llama.grouped_query);
  EXPECT_TRUE(llama.free_head_dim);
  EXPECT_EQ(llama.pairing, Architecture::Pairing::half);
  EXPECT_EQ(llama.rope_base, 10000);
  EXPECT_FALSE(llama.score_scale.has_value());
  EXPECT_EQ(llama.final_norm, "model.norm.weight");
  EXPECT_EQ(llama.final_norm_bias, "");
  EXPECT_EQ(llama.mlp_ratio, 0);  // SwiGLU's width is no fixed multiple
  EXPECT_TRUE(llama.mlp_gated);
  EXPECT_FALSE(gpt2.mlp_gated);
}

TEST(ArchitectureParsing, PartsOfTheOffsetRecipeAreOptional) {
  json j = json::parse(built_in("gpt2"));
  for (const char* name : {"final_norm_bias", "mlp_output", "mlp_ratio"}) j["tensors"].erase(name);
  EXPECT_EQ(parse_architecture(j.dump(), "x").final_norm, "transformer.ln_f.weight");
  j["tensors"].erase("final_norm");
  EXPECT_EQ(parse_architecture(j.dump(), "x").final_norm, "");
  j["tensors"]["final_norm_bias"] = "b";
  EXPECT_NE(architecture_refusal(j.dump()).find("tensors.final_norm_bias: needs final_norm beside it"),
            std::string::npos);
}

TEST(ArchitectureParsing, EveryOptionalFieldIsRead) {
  json j = json::parse(built_in("llama"));
  j["position"] = {{"kind", "rope"},  {"pairing", "interleaved"}, {"sign", -1},         {"base", 5e5},
                   {"fraction", 0.5}, {"scaling", "linear"},      {"scaling_factor", 4}};
  j["attention"]["score_scale"] = 0.125;
  j["attention"]["qk_norm"] = true;
  j["tensors"].erase("head");
  j["tied_head"] = true;
  j["init"] = {{"std", 0.006}, {"residual_scaled", true}};
  j["position"]["unrotated_every"] = 3;
  j["multipliers"] = {{"embedding", 12}, {"residual", 0.25}, {"logits", 0.125}};
  j["model_types"] = {{"mine", {{"defaults", {{"hidden_size", 64}}}, {"only", {{"clip_qkv", nullptr}}}}}};
  const Architecture a = parse_architecture(j.dump(), "x");
  EXPECT_EQ(a.pairing, Architecture::Pairing::interleaved);
  EXPECT_EQ(a.rope_sign, -1);
  EXPECT_EQ(a.rope_base, 5e5);
  EXPECT_EQ(a.rotary_fraction, 0.5);
  EXPECT_EQ(a.rope_scaling.type, "linear");
  EXPECT_EQ(a.rope_scaling.factor, 4);
  EXPECT_EQ(a.score_scale, 0.125);
  EXPECT_EQ(a.unrotated_every, 3);
  EXPECT_TRUE(rotates(a, 0) && rotates(a, 1) && !rotates(a, 2) && rotates(a, 3) && !rotates(a, 5));
  EXPECT_EQ(a.embedding_multiplier, 12);
  EXPECT_EQ(a.residual_multiplier, 0.25);
  EXPECT_EQ(a.logits_multiplier, 0.125);
  ASSERT_EQ(a.model_types.size(), 1u);
  EXPECT_EQ(a.model_types[0].name, "mine");
  EXPECT_EQ(json::parse(a.model_types[0].defaults), (json{{"hidden_size", 64}}));
  EXPECT_EQ(json::parse(a.model_types[0].only), (json{{"clip_qkv", nullptr}}));
  EXPECT_TRUE(a.qk_norm);
  EXPECT_EQ(a.head, "");
  EXPECT_EQ(a.init_std, 0.006);
  EXPECT_TRUE(a.init_residual_scaled);
  EXPECT_EQ(a.optional_prefixes, (std::vector<std::string>{"_orig_mod.", "module."}));
}

TEST(ArchitectureParsing, EveryMissingFieldIsNamed) {
  const json whole = json::parse(built_in("llama"));
  for (const char* pointer : {"/name",
                              "/tensors",
                              "/tensors/fusion",
                              "/tensors/orientation",
                              "/tensors/query",
                              "/tensors/key",
                              "/tensors/value",
                              "/tensors/output",
                              "/tensors/embedding",
                              "/tensors/head",
                              "/tied_head",
                              "/norm",
                              "/attention",
                              "/attention/grouped_query",
                              "/attention/free_head_dim",
                              "/attention/bias",
                              "/attention/qk_norm",
                              "/position",
                              "/position/kind",
                              "/position/pairing",
                              "/position/base",
                              "/init",
                              "/init/std",
                              "/init/residual_scaled"}) {
    json j = whole;
    const json::json_pointer at(pointer);
    j[at.parent_pointer()].erase(at.back());
    std::string path = std::string(pointer).substr(1);
    if (const auto slash = path.find('/'); slash != std::string::npos) path[slash] = '.';
    EXPECT_EQ(architecture_refusal(j.dump()).rfind("mine.json: " + path + ": is missing", 0), 0u)
        << pointer << ": " << architecture_refusal(j.dump());
  }
}

TEST(ArchitectureParsing, EveryWrongValueIsNamed) {
  struct Wrong {
    const char* pointer;
    json value;
    const char* message;
  };
  const std::vector<Wrong> cases{
      {"/extra", 1, "mine.json: extra: unknown field"},
      {"/tensors/qkv", "x{layer}", "tensors.qkv: unknown field"},
      {"/attention/window", 1, "attention.window: unknown field"},
      {"/position/embedding", "x", "position.embedding: unknown field"},
      {"/init/x", 1, "init.x: unknown field"},
      {"/name", 3, "name: a string is needed, not the number 3"},
      {"/name", "a/b", "name: only letters"},
      {"/name", "", "name: must not be empty"},
      {"/description", json::array(), "description: a string is needed, not a value of type array"},
      {"/tensors", "x", "tensors: an object is needed"},
      {"/tensors/fusion", "fused",
       "tensors.fusion: 'fused' is not one of: separate, concatenated, interleaved_by_head"},
      {"/tensors/orientation", true, "tensors.orientation: a string is needed"},
      {"/tensors/query", "q.weight", "tensors.query: the name must contain {layer} exactly once"},
      {"/tensors/query", "{layer}.{layer}.q", "tensors.query: the name must contain {layer} exactly once"},
      {"/tensors/query", "{layer}.{head}.q", "tensors.query: only {layer} may be in braces"},
      {"/tensors/key", "k.{layer", "tensors.key: only {layer} may be in braces"},
      {"/tensors/embedding", "e.{layer}", "tensors.embedding: the name must not contain {layer}"},
      {"/tensors/value", "model.layers.{layer}.self_attn.k_proj.weight",
       "tensors.value: the name is used twice"},
      {"/tensors/head", "model.embed_tokens.weight", "tensors.head: the name is used twice"},
      {"/tensors/final_norm", "norm.{layer}", "tensors.final_norm: the name must not contain {layer}"},
      {"/tensors/final_norm", "lm_head.weight", "tensors.final_norm: the name is used twice"},
      {"/tensors/mlp_output", "down.weight",
       "tensors.mlp_output: the name must contain {layer} exactly once"},
      {"/tensors/mlp_output", 4, "tensors.mlp_output: a string is needed"},
      {"/tensors/mlp_ratio", 0, "tensors.mlp_ratio: 0 is out of range"},
      {"/tensors/mlp_gated", 1, "tensors.mlp_gated: true or false is needed"},
      {"/tensors/mlp_ratio", "4", "tensors.mlp_ratio: a number is needed"},
      {"/tensors/optional_prefixes", "x", "tensors.optional_prefixes: an array of strings is needed"},
      {"/tensors/optional_prefixes", {"x", 1}, "tensors.optional_prefixes[1]: a string is needed"},
      {"/tied_head", 1, "tied_head: true or false is needed"},
      {"/norm", "batchnorm", "norm: 'batchnorm' is not one of: layernorm, rmsnorm"},
      {"/attention/score_scale", 0, "attention.score_scale: 0 is out of range"},
      {"/attention/score_scale", -1, "attention.score_scale: -1 is out of range"},
      {"/attention/bias", "no", "attention.bias: true or false is needed"},
      {"/position/kind", "rotary", "position.kind: 'rotary' is not one of"},
      {"/position/sign", 0, "position.sign: 1 or -1 is needed"},
      {"/position/sign", 0.5, "position.sign: 1 or -1 is needed"},
      {"/position/sign", 2, "position.sign: 2 is out of range"},
      {"/position/base", 1, "position.base: 1 is out of range: above 1"},
      {"/position/base", "1e4", "position.base: a number is needed"},
      {"/position/fraction", 1.5, "position.fraction: 1.5 is out of range"},
      {"/position/fraction", 0, "position.fraction: 0 is out of range"},
      {"/position/scaling", "yarn", "position.scaling: 'yarn' is not one of: none, linear"},
      {"/position/scaling", "linear", "position.scaling_factor: is missing"},
      {"/position/scaling_factor", 2, "position.scaling_factor: is only for linear scaling"},
      {"/init/std", 0, "init.std: 0 is out of range"},
      {"/init/residual_scaled", nullptr, "init.residual_scaled: is missing"},
      {"/tensors/mlp_relu2", true, "tensors.mlp_relu2: must be false where mlp_gated is true"},
      {"/position/unrotated_every", 0, "position.unrotated_every: 0 is not in 1..2^31"},
      {"/multipliers", {{"embedding", 0}}, "multipliers.embedding: 0 is out of range"},
      {"/multipliers", {{"head", 2}}, "multipliers.head: unknown field"},
      {"/model_types", json::array(), "model_types: an object is needed"},
      {"/model_types", {{"x", {{"only", json::object()}}}}, "model_types.x.defaults: is missing"},
      {"/model_types", {{"x", {{"defaults", 1}}}}, "model_types.x.defaults: an object is needed"},
  };
  for (const Wrong& w : cases) {
    json j = json::parse(built_in("llama"));
    j[json::json_pointer(w.pointer)] = w.value;
    const std::string message = architecture_refusal(j.dump());
    EXPECT_NE(message.find(w.message), std::string::npos) << w.pointer << ": " << message;
    EXPECT_EQ(message.rfind("mine.json: ", 0), 0u) << message;
  }
}

TEST(ArchitectureParsing, WhatIsNoJsonObjectIsRefused) {
  EXPECT_EQ(architecture_refusal(""), "mine.json: not valid JSON at byte 1");
  EXPECT_NE(architecture_refusal("[1]").find("a JSON object is needed"), std::string::npos);
  EXPECT_NE(architecture_refusal("{\"name\":1e999}").find("not valid JSON"), std::string::npos);
  EXPECT_EQ(architecture_refusal("{\"name\":\"a\",\"name\":\"b\"}"),
            "mine.json: the key 'name' appears twice");
  EXPECT_NE(architecture_refusal("{} {}").find("not valid JSON at byte"), std::string::npos);
  json fused = json::parse(built_in("neox"));
  fused["attention"]["grouped_query"] = true;
  EXPECT_NE(architecture_refusal(fused.dump()).find("attention.grouped_query: must be false"),
            std::string::npos);
}

std::string misfit(const Architecture& arch, const ModelShape& shape) {
  try {
    check_shape(arch, shape);
    return "";
  } catch (const UsageError& e) {
    return e.what();
  }
}

TEST(ArchitectureShape, SizesThatDoNotFitAreUsageErrors) {
  const Architecture llama = parse_architecture(built_in("llama"), ""),
                     gpt2 = parse_architecture(built_in("gpt2"), ""),
                     neox = parse_architecture(built_in("neox"), "");
  const ModelShape good{2, 8, 8, 16, 128, 64, 100, 10000};
  for (const auto* arch : {&llama, &gpt2, &neox}) EXPECT_EQ(misfit(*arch, good), "");
  const auto with = [&](auto change) {
    ModelShape s = good;
    change(s);
    return s;
  };
  EXPECT_EQ(misfit(llama, with([](auto& s) { s.kv_heads = 2; })), "");
  EXPECT_NE(misfit(llama, with([](auto& s) { s.kv_heads = 3; })).find("8 heads cannot share 3"),
            std::string::npos);
  EXPECT_NE(misfit(gpt2, with([](auto& s) { s.kv_heads = 2; })).find("as many key-value heads"),
            std::string::npos);
  EXPECT_EQ(misfit(llama, with([](auto& s) { s.head_dim = 32; })), "");
  EXPECT_NE(misfit(gpt2, with([](auto& s) { s.head_dim = 32; })).find("8 x 32 is not 128"),
            std::string::npos);
  EXPECT_NE(misfit(llama, with([](auto& s) { s.head_dim = 15; })).find("15 of the 15"), std::string::npos);
  EXPECT_NE(misfit(neox, with([](auto& s) { s.head_dim = 20, s.d_model = 160; })).find("5 of the 20"),
            std::string::npos);
  EXPECT_NE(misfit(neox, with([](auto& s) { s.head_dim = 2, s.d_model = 16; })).find("0 of the 2"),
            std::string::npos);
  EXPECT_NE(misfit(llama, with([](auto& s) { s.rope_base = 1; })), "");
  for (auto member : {&ModelShape::layers, &ModelShape::heads, &ModelShape::kv_heads, &ModelShape::head_dim,
                      &ModelShape::d_model, &ModelShape::context, &ModelShape::vocab})
    for (const std::int64_t value : {std::int64_t{0}, std::int64_t{-4}, std::int64_t{1} << 40}) {
      ModelShape s = good;
      s.*member = value;
      EXPECT_NE(misfit(llama, s), "") << value;
    }
}

TEST(ArchitectureShape, SizesBeyondAnyModelAreRefusedBeforeTheyAreMultiplied) {
  const Architecture llama = parse_architecture(built_in("llama"), "");
  const ModelShape largest{8192, 16384, 16384, 64, 1 << 20, std::int64_t{1} << 31, std::int64_t{1} << 31};
  EXPECT_EQ(misfit(llama, largest), "");
  const auto with = [&](auto change) {
    ModelShape s = largest;
    change(s);
    return misfit(llama, s);
  };
  EXPECT_EQ(with([](auto& s) { s.layers = std::int64_t{1} << 31; }),
            "2147483648 layers are too many: at most 8192");
  EXPECT_EQ(with([](auto& s) { s.d_model = 4194304; }),
            "4194304 model dimensions are too many: at most 1048576");
  EXPECT_EQ(with([](auto& s) { s.head_dim = 66; }),
            "1081344 dimensions of all heads together are too many: at most 1048576");
  EXPECT_EQ(with([](auto& s) { s.mlp_width = 1 << 21; }),
            "2097152 MLP dimensions are too many: at most 1048576");
  EXPECT_EQ(with([](auto& s) { s.heads = s.kv_heads = 1 << 15; }), "32768 heads are too many: at most 16384");
}

TEST(ArchitectureShape, RotaryRowsAreTruncatedAsModelsDo) {
  Architecture a = parse_architecture(built_in("neox"), "");
  ModelShape s{1, 1, 1, 64, 64, 8, 8, 10000};
  EXPECT_EQ(rotary_dim(a, s), 16);
  s.head_dim = 100;
  a.rotary_fraction = 0.29;  // 28.999...: int(100 * 0.29) is 28 in Python too
  EXPECT_EQ(rotary_dim(a, s), 28);
  a.position = Architecture::Position::learned;
  EXPECT_EQ(rotary_dim(a, s), 0);
}

}  // namespace
