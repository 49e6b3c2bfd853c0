#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "host/error.hpp"
#include "pipeline/run/folder.hpp"
#include "tests/fuzz/target.hpp"
#include "tools/aloft/config_file.hpp"
#include "tools/aloft/inspect.hpp"
#include "tools/aloft/options.hpp"

// What these readers ask of the rest of the program: the recipes there are, of which two will do, and the
// built-in architectures.

namespace aloft {

const std::vector<Recipe>& all_recipes() {
  static const std::vector<Recipe> all{
      {.name = "offset", .summary = "", .flags = {"pr-target"}, .stages = {kCount, kCompose, kEmit}},
      {.name = "random", .summary = "", .flags = {"init-std"}, .stages = {kCompose, kEmit}}};
  return all;
}
std::vector<std::string> foreign_flags(const Recipe& recipe) {
  return recipe.name == "random" ? std::vector<std::string>{"pr-target"}
                                 : std::vector<std::string>{"init-std"};
}

std::vector<Architecture> parsed_built_ins() { return fuzz::built_in_architectures(); }

namespace fuzz {
namespace {

struct App {
  CLI::App app{"fuzz"};
  std::vector<std::string> corpus;
  std::vector<int> layer_lags;
  std::string recipe, output, config;
  double rate = 0;
  int lags = 0;
  bool quiet = false;

  App() {
    app.add_option("--corpus", corpus);
    app.add_option("--layer-lags", layer_lags);
    app.add_option("--recipe", recipe);
    app.add_option("--output", output);
    app.add_option("--config", config);
    app.add_option("--corpus-hash", config);
    app.add_option("--pr-target", rate);
    app.add_option("--lags", lags);
    app.add_flag("--quiet", quiet);
  }
};

void read_config(std::string_view data) {
  App app;
  std::vector<std::string> words = config_words(file_with(data), app.app);
  for (const std::string& word : words) require(word.starts_with("--"), "a config gave what is no flag");
  std::reverse(words.begin(), words.end());
  try {
    app.app.parse(words);
  } catch (const CLI::ParseError&) {
  }
}

void read_manifest(std::string_view data) {
  const std::string text = json_summary_of(std::string(data), "manifest.json").dump();
  require(!text.empty(), "a summary of nothing");
  read_config(data);  // a manifest is a config too
}

void read_state(std::string_view data) {
  const std::string folder = own_folder() + "/run";
  std::filesystem::create_directories(folder);
  Options options(data);
  std::ofstream(folder + (options.choice(8) == 0 ? "/manifest.json" : "/.aloft-state.json"), std::ios::binary)
      << data;
  struct Clean {
    const std::string& folder;
    ~Clean() { std::filesystem::remove_all(folder); }
  } clean{folder};
  RunFolder run(folder, "00", false);
  (void)run.recall("counts.inputs");
  run.begin();
  run.remember({{"fact", "value"}});
  require(run.recall("fact") == "value", "a remembered fact is lost");
}

Seeds config_seeds() {
  return {"corpus: [a.txt, b.txt]\nlayer-lags: [1, 2]\nlags: 2\nquiet: true\nrecipe: offset\n",
          R"({"corpus": ["/a.txt"], "recipe": "random", "pr-target": 2, "lags": 8, "corpus-hash": "00",
 "manifest": {"backend": "cpu", "tokens": 7, "files": {"init.safetensors": {"bytes": 9}}, "stages": [{"name": "x"}]}})",
          "a: &a [x,x]\nb: *a\n",
          "corpus: |\n  text\n  more\n",
          "? [complex]\n: value\n",
          "--- !!map\nlags: !!int \"3\"\n...\n",
          std::string(600, '['),
          "%YAML 1.2\n---\nlags: 0x10 # c\n",
          "- a\n- b\n",
          "quiet: 'tr\\ue'\nx: \"\\x41\\u263a\"\n"};
}
Seeds manifest_seeds() {
  return {
      R"({"corpus": ["/a.txt"], "recipe": "random", "pr-target": 2, "manifest": {"tokens": 7, "stages": []}})",
      R"({"tokenizer":"words","version":1,"lowercase":true,"tokens":["<unk>","the"]})",
      R"({"tokenizer":"sentencepiece","version":1,"tokens":["<unk>",[1,{}]]})",
      R"({"coordinates":1,"chosen_on":{}})",
      R"({"layers":[{"lag":1}],"lags":2})",
      R"({"model_type":"llama","hidden_size":8})"};
}
Seeds state_seeds() {
  const std::string state = R"({"settings":"00","counts.inputs":"11","other":[1,{}]})";
  return {"\1" + state, "\1{\"settings\":\"01\"}", std::string("\0{\"manifest\":{}}", 16), "\1[]",
          "\1{\"settings\":1}"};
}

}  // namespace

std::vector<Target> run_targets() {
  const std::vector<std::string> yaml{
      "corpus:", "layer-lags:", "recipe:", "manifest:",  "quiet: true", "&a ", "*a",
      "<<: ",    "!!int ",      "|\n",     ">-\n",       "? ",          ": ",  "- ",
      "{",       "}",           "[",       "]",          "'",           "\"",  "\\x",
      "\\u",     "---\n",       "...\n",   "%TAG ! x\n", "# c\n",       "\t",  "\xef\xbb\xbf"};
  return {{"config", read_config, config_seeds, yaml},
          {"manifest",
           read_manifest,
           manifest_seeds,
           {"\"manifest\":", "\"tokenizer\":", "\"tokens\":[", "\"coordinates\":", "\"layers\":",
            "\"model_type\":", "\"corpus\":", "{", "}", "[", "]", "null", "\\u0000"}},
          {"state",
           read_state,
           state_seeds,
           {"\"settings\":", "\"counts.inputs\":", "{", "}", "[", "]", "null", "\""}}};
}

}  // namespace fuzz
}  // namespace aloft
