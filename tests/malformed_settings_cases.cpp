#include "tests/malformed_cases.hpp"

// Defects of what a user writes down: YAML configs, architectures, Hugging Face configs.

namespace aloft::cli_tests {
namespace {

const std::pair<std::string, std::string> kText{"t.txt", kSoundText};

void add_configs(Cases& out) {
  const std::pair<const char*, std::string> syntax[] = {{"empty", ""},
                                                        {"comment only", "# nothing\n"},
                                                        {"a word", "seed"},
                                                        {"a list", "- seed: 1\n- lags: 2\n"},
                                                        {"bracket open", "layer-lags: [1, 2\n"},
                                                        {"brace open", "{seed: 1\n"},
                                                        {"tab as indentation", "a:\n\t- 1\n"},
                                                        {"two values", "seed: 1: 2\n"},
                                                        {"bad indentation", "seed: 1\n  lags: 2\n"},
                                                        {"unknown alias", "seed: *other\n"},
                                                        {"NUL bytes", std::string("seed\0: 1", 8)},
                                                        {"JSON cut off", "{\"seed\": 1, "}};
  for (const auto& [name, yaml] : syntax)
    out.push_back({"config: syntax",
                   name,
                   {{"c.yaml", yaml}, kText},
                   {init_with({"--corpus", "@t.txt", "--vocab-size", "8", "--config", "@c.yaml"}),
                    count_with({"--corpus", "@t.txt", "--vocab-size", "8", "--config", "@c.yaml"})},
                   "c.yaml"});
  const std::pair<const char*, std::string> content[] = {
      {"unknown key", "sede: 1\n"},
      {"dashes before the key", "--seed: 1\n"},
      {"key in capitals", "Seed: 1\n"},
      {"underscore", "d_model: 8\n"},
      {"config in a config", "config: other.yaml\n"},
      {"help", "help: true\n"},
      {"key twice", "seed: 1\nlags: 2\nseed: 1\n"},
      {"no value", "seed:\n"},
      {"null", "seed: null\n"},
      {"nested", "seed: {value: 1}\n"},
      {"nested twice", "layer-lags: [[1]]\n"},
      {"mapping in a list", "layer-lags: [{a: 1}]\n"},
      {"key is a list", "[seed]: 1\n"},
      {"flag is a number", "no-embedding: 3\n"},
      {"flag is a list", "no-embedding: [true]\n"},
      {"seed a word", "seed: many\n"},
      {"seed negative", "seed: -1\n"},
      {"seed a fraction", "seed: 1.5\n"},
      {"vocab-size a word", "vocab-size: large\n"},
      {"vocab-size 0", "vocab-size: 0\n"},
      {"vocab-size beyond 2^31", "vocab-size: 99999999999\n"},
      {"noise a word", "noise: loud\n"},
      {"noise negative", "noise: -1\n"},
      {"context 0", "context: 0\n"},
      {"expand unknown", "expand: far\n"},
      {"dtype unknown", "dtype: f64\n"},
      {"strategy unknown", "strategy: fast\n"},
      {"directions a number", "directions: 1\n"},
      {"layer-lags a word", "layer-lags: first\n"}};
  for (const auto& [name, yaml] : content)
    out.push_back({"config: content",
                   name,
                   {{"c.yaml", yaml}, kText, {"vocab.json", kSoundVocabulary}},
                   {init_with({"--corpus", "@t.txt", "--vocabulary", "@vocab.json", "--config", "@c.yaml"})},
                   "c.yaml"});
  out.push_back({"config: content",  // without init_with, which names a recipe itself
                 "recipe unknown",
                 {{"c.yaml", "recipe: magic\n"}, kText},
                 {{"init", "--quiet", "--arch", "gpt2", "--layers", "1", "--d-model", "8", "--heads", "1",
                   "--corpus", "@t.txt", "--vocab-size", "8", "--config", "@c.yaml", "--output", "@run"}},
                 "c.yaml"});
}

void add_architectures(Cases& out) {
  const std::string& sound = kSoundArchitecture;
  const auto add = [&out](const char* defect, const char* name, const std::string& json) {
    out.push_back({defect,
                   name,
                   {{"a.json", json}, kText},
                   {init_with({"--corpus", "@t.txt", "--vocab-size", "8", "--arch", "@a.json"}),
                    {"inspect", "@a.json"}},
                   "a.json"});
  };
  const char* syntax = "architecture: not JSON";
  add(syntax, "empty", "");
  add(syntax, "cut off", sound.substr(0, sound.size() / 2));
  add(syntax, "list", "[" + sound + "]");
  add(syntax, "number", "12");
  add(syntax, "comment", "// mine\n" + sound);
  add(syntax, "comma too many", replaced(sound, "false}\n}", "false,}\n}"));
  add(syntax, "text behind", sound + "x");
  add(syntax, "YAML", "name: mine\n");
  add(syntax, "invalid UTF-8", replaced(sound, "mine", "m\xff"));
  add(syntax, "a number without end", replaced(sound, "0.02", "1e999"));
  add(syntax, "key twice", replaced(sound, R"("tied_head")", R"("name": "mine", "tied_head")"));

  const std::tuple<const char*, std::string, std::string> missing[] = {
      {"name", R"("name": "mine",)", ""},
      {"tensors", R"("tensors")", R"("tensor")"},
      {"fusion", R"("fusion": "separate",)", ""},
      {"orientation", R"("orientation": "out_in",)", ""},
      {"query", R"("query": "l.{layer}.q",)", ""},
      {"output", R"("output": "l.{layer}.o",)", ""},
      {"embedding", R"("embedding": "wte",)", ""},
      {"head although not tied", R"("true)", ""},
      {"tied_head", R"("tied_head": true,)", ""},
      {"norm", R"("norm": "rmsnorm",)", ""},
      {"grouped_query", R"("grouped_query": true,)", ""},
      {"qk_norm", R"(, "qk_norm": false)", ""},
      {"kind of position", R"("kind": "rope",)", ""},
      {"pairing", R"("pairing": "half",)", ""},
      {"base", R"(, "base": 10000)", ""},
      {"std", R"("std": 0.02,)", ""},
      {"init", R"("init")", R"("description": "x", "start")"}};
  for (const auto& [name, from, to] : missing)
    add("architecture: field missing", name,
        from == R"("true)" ? replaced(replaced(sound, R"(, "head": "lm_head")", ""), ": true,\n  \"norm",
                                      ": false,\n  \"norm")
                           : replaced(sound, from, to));
  const std::tuple<const char*, std::string, std::string> values[] = {
      {"unknown field", R"("norm")", R"("depth": 3, "norm")"},
      {"unknown tensor", R"("output")", R"("mlp": "m.{layer}", "output")"},
      {"name a number", R"("mine")", "5"},
      {"name with a slash", "mine", "my/model"},
      {"name empty", "mine", ""},
      {"tensors a list", R"({"fusion": "separate", )", R"(["fusion", "separate"], "rest": {)"},
      {"fusion unknown", "separate", "mixed"},
      {"orientation unknown", "out_in", "sideways"},
      {"template without layer", "l.{layer}.q", "l.q"},
      {"template with two layers", "l.{layer}.q", "l.{layer}.{layer}"},
      {"template with another field", "l.{layer}.q", "l.{layer}.{head}"},
      {"template with an open brace", "l.{layer}.q", "l.{layer}.{"},
      {"layer in the embedding", "\"wte\"", "\"wte.{layer}\""},
      {"one name twice", "l.{layer}.k", "l.{layer}.q"},
      {"tied_head a word", ": true,\n  \"norm", ": \"yes\",\n  \"norm"},
      {"norm unknown", "rmsnorm", "batchnorm"},
      {"bias a number", R"("bias": false)", R"("bias": 0)"},
      {"score_scale 0", R"("bias")", R"("score_scale": 0, "bias")"},
      {"position unknown", "\"rope\"", "\"compass\""},
      {"pairing unknown", "\"half\"", "\"both\""},
      {"base 1", "10000", "1"},
      {"base negative", "10000", "-10000"},
      {"base a word", "10000", "\"large\""},
      {"fraction 2", "10000", "10000, \"fraction\": 2"},
      {"sign 0.5", "10000", "10000, \"sign\": 0.5"},
      {"scaling unknown", "10000", "10000, \"scaling\": \"yarn\""},
      {"factor missing", "10000", "10000, \"scaling\": \"linear\""},
      {"factor without scaling", "10000", "10000, \"scaling_factor\": 2"},
      {"std 0", "0.02", "0"},
      {"std negative", "0.02", "-0.02"},
      {"std null", "0.02", "null"}};
  for (const auto& [name, from, to] : values) add("architecture: value", name, replaced(sound, from, to));
}

void add_model_configs(Cases& out) {
  const std::string& sound = kSoundModelConfig;
  const std::pair<const char*, std::string> bad[] = {
      {"empty", ""},
      {"cut off", sound.substr(0, 40)},
      {"list", "[]"},
      {"key twice", replaced(sound, "\"hidden_size\"", "\"model_type\": \"llama\", \"hidden_size\"")},
      {"model_type a number", replaced(sound, "\"llama\"", "1")},
      {"layers 0", replaced(sound, "layers\": 1", "layers\": 0")},
      {"layers negative", replaced(sound, "layers\": 1", "layers\": -1")},
      {"layers a fraction", replaced(sound, "layers\": 1", "layers\": 1.5")},
      {"layers text", replaced(sound, "layers\": 1", "layers\": \"1\"")},
      {"layers beyond 2^31", replaced(sound, "layers\": 1", "layers\": 99999999999")},
      {"two numbers of layers", replaced(sound, "\"hidden_size\"", "\"n_layer\": 2, \"hidden_size\"")},
      {"width not a multiple of heads", replaced(sound, "size\": 8", "size\": 9")},
      {"key-value heads do not divide",
       replaced(replaced(sound, "attention_heads\": 2", "attention_heads\": 4"), "value_heads\": 1",
                "value_heads\": 3")},
      {"base 0", replaced(sound, "10000.0", "0")},
      {"base text", replaced(sound, "10000.0", "\"10000\"")},
      {"std negative", replaced(sound, "0.02", "-1")},
      {"tied a number", replaced(sound, "false", "0")},
      {"rope_scaling text", replaced(sound, R"({"rope_type": "linear", "factor": 2.0})", "\"linear\"")},
      {"factor missing", replaced(sound, ", \"factor\": 2.0", "")},
      {"factor 0", replaced(sound, "2.0", "0")},
      {"scores scaled by depth", R"({"model_type": "gpt2", "scale_attn_by_inverse_layer_idx": true})"},
      {"scores not scaled", R"({"model_type": "gpt2", "scale_attn_weights": false})"}};
  for (const auto& [name, json] : bad)
    out.push_back(
        {"model config",
         name,
         {{"config.json", json}, kText},
         {{"init", "--quiet", "--corpus", "@t.txt", "--vocab-size", "8", "--model-config", "@config.json",
           "--recipe", "spread", "--pr-target", "2", "--output", "@run"},
          {"plan", "--quiet", "--corpus", "@t.txt", "--vocab-size", "8", "--model-config", "@config.json"}},
         "config.json"});
}

}  // namespace

Cases malformed_settings() {
  Cases out;
  add_configs(out);
  add_architectures(out);
  add_model_configs(out);
  return out;
}

}  // namespace aloft::cli_tests
