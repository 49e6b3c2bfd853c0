#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "tests/malformed_cases.hpp"

// The compiled program from end to end: every command, every recipe and architecture, exit codes.

namespace aloft::cli_tests {
namespace {

using nlohmann::json;

const Words kModel{"--layers", "2", "--d-model", "32", "--heads", "2"};
const Words kCorpusFiles{"counts.safetensors", "embedding.safetensors", "expanded.safetensors",
                         "init.safetensors",   "manifest.json",         "projections.safetensors",
                         "spectra.json",       "spectra.safetensors",   "vocab.json"};
const Words kPlainFiles{"init.safetensors", "manifest.json"};

bool reads_corpus(const std::string& recipe) { return recipe == "spread" || recipe == "asymmetry"; }

json header_of(const std::string& path) {
  const std::string file = content(path);
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  return json::parse(file.substr(8, length));
}

class Program : public testing::Test {
 protected:
  void SetUp() override { corpus_ = folder_.file("corpus.txt", sample_text(4000)); }
  [[nodiscard]] Words from_corpus(int vocab = 200) const {
    return {"--corpus", corpus_, "--vocab-size", std::to_string(vocab)};
  }
  [[nodiscard]] Words init(const std::string& output, const std::string& arch = "gpt2",
                           const std::string& recipe = "spread") const {
    return Words{"init", "--quiet", "--recipe", recipe, "--arch", arch, "--output", folder_ / output} +
           kModel;
  }
  [[nodiscard]] Words names(const std::string& run) const {
    Words out;
    for (const auto& entry : fs::directory_iterator(folder_ / run)) out.push_back(entry.path().filename());
    std::sort(out.begin(), out.end());
    return out;
  }

  Folder folder_;
  std::string corpus_;
};

// ---- init ----

struct Design {
  std::string recipe, arch;
};
class EveryDesign : public Program, public testing::WithParamInterface<Design> {};

TEST_P(EveryDesign, IsWritten) {
  const auto& [recipe, arch] = GetParam();
  const Words input = reads_corpus(recipe) ? from_corpus() : Words{};
  const Outcome o = run(init("run", arch, recipe) + Words{"--lags", "3"} + input);
  ASSERT_EQ(o.code, 0) << o;
  EXPECT_EQ(o.err, "");
  EXPECT_EQ(names("run"), reads_corpus(recipe) ? kCorpusFiles : kPlainFiles);
  EXPECT_NE(o.out.find("2 layers, 2 heads (2 key/value) of 16, width 32"), std::string::npos) << o.out;
  EXPECT_NE(o.out.find("init.safetensors"), std::string::npos) << o.out;
  if (reads_corpus(recipe)) {
    EXPECT_NE(o.out.find("4614 tokens, 200 ids"), std::string::npos) << o.out;
    EXPECT_NE(o.out.find("\nlayer  lag  PR before  PR after"), std::string::npos) << o.out;
  }

  json header = header_of(folder_ / "run/init.safetensors");
  EXPECT_EQ(header["__metadata__"]["format"], "pt");
  EXPECT_EQ(header["__metadata__"]["architecture"], arch);
  EXPECT_EQ(header["__metadata__"]["recipe"], recipe);
  header.erase("__metadata__");
  const std::size_t per_layer = arch == "llama" ? 4 : 2, embedding = reads_corpus(recipe) ? 1 : 0;
  EXPECT_EQ(header.size() >= 2 * per_layer + embedding && header.size() <= 2 * per_layer + 2 * embedding,
            true)
      << header.dump();
  for (const auto& [name, tensor] : header.items()) EXPECT_EQ(tensor["dtype"], "F32") << name;

  for (const std::string& name : names("run")) {
    const Outcome text = run({"inspect", folder_ / ("run/" + name)});
    EXPECT_EQ(text.code, 0) << name << ": " << text;
    EXPECT_EQ(text.err, "") << name;
    const Outcome data = run({"inspect", "--json", folder_ / ("run/" + name)});
    const json summary = json::parse(data.out, nullptr, false);
    ASSERT_TRUE(summary.is_object()) << name << ": " << data;
    EXPECT_EQ(summary["bytes"], fs::file_size(folder_ / ("run/" + name)));
  }
}
std::vector<Design> designs() {
  std::vector<Design> out;
  for (const char* arch : {"gpt2", "llama", "nanogpt-rope", "nanogpt", "neox"})
    for (const char* recipe : {"random", "asymmetry", "spread", "invariants", "mimetic", "orthogonal"})
      out.push_back({recipe, arch});
  return out;
}
std::string design_name(const testing::TestParamInfo<Design>& design) {
  std::string name = design.param.recipe + "_" + design.param.arch;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Each, EveryDesign, testing::ValuesIn(designs()), design_name);

TEST_F(Program, JsonSaysWhatTheTableSays) {
  const Outcome o = run(init("run") + from_corpus() + Words{"--json"});
  ASSERT_EQ(o.code, 0) << o;
  const json out = json::parse(o.out);
  EXPECT_EQ(out["corpus"]["tokens"], 4614);
  EXPECT_EQ(out["corpus"]["vocab"], 200);
  EXPECT_EQ(out["corpus"]["pairs"].size(), 8u);
  EXPECT_EQ(out["corpus"]["pairs"][0], 4613);
  EXPECT_EQ(out["corpus"]["pairs"][7], 4606);
  ASSERT_EQ(out["layers"].size(), 2u);
  for (int layer = 0; layer < 2; ++layer) {
    EXPECT_EQ(out["layers"][static_cast<std::size_t>(layer)]["lag"], layer + 1);
    EXPECT_NEAR(out["layers"][static_cast<std::size_t>(layer)]["pr_after"].get<double>(), 30, 0.01);
  }
  EXPECT_EQ(out["resumed"], false);
  for (const auto& name : out["files"]) EXPECT_TRUE(fs::exists(folder_ / ("run/" + name.get<std::string>())));
  EXPECT_EQ(out["files"].size(), kCorpusFiles.size());

  const json manifest = json::parse(content(folder_ / "run/manifest.json"));
  EXPECT_EQ(manifest["corpus-hash"], out["corpus"]["hash"]);
  for (const auto& [name, file] : manifest["manifest"]["files"].items())
    EXPECT_EQ(file["bytes"], fs::file_size(folder_ / ("run/" + name))) << name;
}

TEST_F(Program, TheDefaultRecipeIsOffset) {
  const Words command{"init",      "--quiet", "--arch",  "llama", "--layers",  "2",
                      "--d-model", "64",      "--heads", "4",     "--context", "32"};
  ASSERT_EQ(run(command + from_corpus() + Words{"--output", folder_ / "default"}).code, 0);
  ASSERT_EQ(run(command + from_corpus() + Words{"--recipe", "offset", "--output", folder_ / "offset"}).code,
            0);
  EXPECT_EQ(json::parse(content(folder_ / "default/manifest.json"))["recipe"], "offset");
  EXPECT_EQ(content(folder_ / "default/init.safetensors") == content(folder_ / "offset/init.safetensors"),
            true);
}

TEST_F(Program, OptionsOfTheOutput) {
  ASSERT_EQ(
      run(init("half") + from_corpus() + Words{"--dtype", "bf16", "--no-embedding", "--save-heads"}).code, 0);
  json header = header_of(folder_ / "half/init.safetensors");
  header.erase("__metadata__");
  EXPECT_EQ(header.size(), 4u);
  for (const auto& [name, tensor] : header.items()) EXPECT_EQ(tensor["dtype"], "BF16") << name;
  EXPECT_TRUE(fs::exists(folder_ / "half/heads.safetensors"));

  // Another width of vocabulary than the corpus's: the model's rows are padded.
  ASSERT_EQ(run(init("wide") + from_corpus(100) + Words{"--model-vocab-size", "128"}).code, 0);
  EXPECT_EQ(header_of(folder_ / "wide/init.safetensors")["transformer.wte.weight"]["shape"], json({128, 32}));
  EXPECT_EQ(header_of(folder_ / "wide/counts.safetensors")["unigram"]["shape"], json({100}));
  EXPECT_TRUE(
      refused(run(init("narrow") + from_corpus(100) + Words{"--model-vocab-size", "99"}), 2, {"99", "100"}));
}

TEST_F(Program, ProgressGoesToStderrUnlessQuiet) {
  Words loud = init("run") + from_corpus();
  std::erase(loud, "--quiet");
  const Outcome o = run(loud);
  ASSERT_EQ(o.code, 0) << o;
  for (const char* stage : {"count", "embed", "project", "decompose", "expand", "compose", "emit", "report"})
    EXPECT_EQ(o.err.find(stage) != std::string::npos, true) << stage << " is missing in\n" << o.err;
  EXPECT_EQ(o.out.find("embed  "), std::string::npos);
}

TEST_F(Program, StdinIsTheSameCorpus) {
  ASSERT_EQ(run(init("file") + from_corpus()).code, 0);
  const Outcome o =
      run_with_stdin(init("pipe") + Words{"--corpus", "-", "--vocab-size", "200"}, content(corpus_));
  ASSERT_EQ(o.code, 0) << o;
  for (const char* name : {"init.safetensors", "counts.safetensors", "vocab.json", "spectra.json"})
    EXPECT_EQ(content(folder_.path / "file" / name) == content(folder_.path / "pipe" / name), true) << name;
  EXPECT_TRUE(refused(run(init("none") + Words{"--corpus", "-", "--vocab-size", "200"}), 3, {"stdin"}));
}

TEST_F(Program, TokenFilesOfEveryFormatAreTheSameCorpus) {
  std::vector<std::uint16_t> narrow;
  Numbers random(5);
  for (int k = 0; k < 3000; ++k)
    narrow.push_back(static_cast<std::uint16_t>((narrow.empty() ? 0 : narrow.back() + random.below(7)) % 60));
  const std::vector<std::uint32_t> wide(narrow.begin(), narrow.end());
  const std::string ids = bytes_of(narrow), count = std::to_string(narrow.size());
  const std::pair<const char*, std::string> files[] = {
      {"a.u16", ids},
      {"a.u32", bytes_of(wide)},
      {"a.npy", npy("{'descr': '<u2', 'fortran_order': False, 'shape': (" + count + ",), }", ids)},
      {"a.bin", le<std::int32_t>({20240520, 1, 3000}) + std::string(253 * 4, '\0') + ids}};
  std::string first;
  for (const auto& [name, text] : files) {
    const Words corpus{"--corpus", folder_.file(name, text), "--vocab-size", "60"};
    const Outcome o =
        run(Words{"count", "--quiet", "--output", folder_ / (std::string(name) + ".safetensors")} + corpus);
    ASSERT_EQ(o.code, 0) << o;
    const std::string counts = content(folder_ / (std::string(name) + ".safetensors"));
    if (first.empty()) first = counts;
    EXPECT_EQ(counts == first, true) << name;
  }
}

TEST_F(Program, EveryTokenizerOfText) {
  const std::pair<Words, int> tokenizers[] = {
      {{"bytes"}, 256}, {{folder_.file("sp.model", kSoundPieces + kSoundModelTail)}, 7}};
  for (const auto& [tokenizer, vocab] : tokenizers) {
    const std::string output = "run" + std::to_string(vocab);
    const Outcome o =
        run(init(output) + Words{"--pr-target", "4", "--corpus", corpus_, "--tokenizer"} + tokenizer);
    ASSERT_EQ(o.code, 0) << o;
    EXPECT_EQ(header_of(folder_ / (output + "/counts.safetensors"))["unigram"]["shape"], json({vocab}));
    EXPECT_EQ(fs::exists(folder_ / (output + "/vocab.json")), vocab == 7);
    for (const std::string& name : names(output)) {
      const Outcome seen = run({"inspect", folder_ / (output + "/" + name)});
      EXPECT_EQ(seen.code, 0) << name << ": " << seen;
    }
  }
}

// ---- The other commands ----

TEST_F(Program, CountsGoIntoInit) {
  const std::string counts = folder_ / "counts.safetensors", vocabulary = folder_ / "vocab.json";
  const Outcome o = run(
      Words{"count", "--quiet", "--json", "--output", counts, "--vocab-output", vocabulary} + from_corpus());
  ASSERT_EQ(o.code, 0) << o;
  EXPECT_EQ(o.err, "");
  const json out = json::parse(o.out);
  EXPECT_EQ(out["tokens"], 4614);
  EXPECT_EQ(out["lags"].size(), 8u);
  EXPECT_EQ(out["lags"][2]["pairs"], 4611);
  EXPECT_EQ(json::parse(content(vocabulary))["tokens"].size(), 200u);

  ASSERT_EQ(run(init("counted") + Words{"--counts", counts}).code, 0);
  ASSERT_EQ(run(init("direct") + from_corpus()).code, 0);
  EXPECT_EQ(content(folder_ / "counted/init.safetensors") == content(folder_ / "direct/init.safetensors"),
            true);
  ASSERT_EQ(run(init("fewer") + Words{"--counts", counts, "--lags", "2"}).code, 0);
  EXPECT_TRUE(refused(run(init("more") + Words{"--counts", counts, "--lags", "9"}), 2, {"8", "9"}));
  // With its vocabulary the same text gives the same counts again.
  ASSERT_EQ(run({"count", "--quiet", "--corpus", corpus_, "--vocabulary", vocabulary, "--output",
                 folder_ / "again.safetensors"})
                .code,
            0);
  EXPECT_EQ(content(folder_ / "again.safetensors") == content(counts), true);

  EXPECT_TRUE(
      refused(run(Words{"count", "--quiet", "--output", counts} + from_corpus()), 2, {counts, "--force"}));
  EXPECT_EQ(run(Words{"count", "--quiet", "--force", "--output", counts} + from_corpus(50)).code, 0);
  EXPECT_EQ(header_of(counts)["unigram"]["shape"], json({50}));
}

TEST_F(Program, PlanReadsNothingItNeedNot) {
  const Words model = Words{"--recipe", "spread", "--arch", "llama"} + kModel;
  const Outcome table = run(Words{"plan", "--quiet"} + model + from_corpus());
  ASSERT_EQ(table.code, 0) << table;
  EXPECT_NE(table.out.find("peak memory"), std::string::npos);
  const Outcome o = run(
      Words{"plan", "--json", "--tokens", "1000000000", "--vocab-size", "20000", "--memory", "64G"} + model);
  ASSERT_EQ(o.code, 0) << o;
  const json plan = json::parse(o.out);
  EXPECT_EQ(plan["tokens"], 1000000000);
  EXPECT_EQ(plan["memory_allowed_bytes"], std::uint64_t{64} << 30);
  EXPECT_EQ(plan["stages"].size() >= 5, true);
  EXPECT_GT(plan["memory_bytes"], 0);
  EXPECT_TRUE(refused(run(Words{"plan", "--tokens", "1000"} + model), 2, {"--vocab-size"}));
}

/// Memory of each stage.
std::map<std::string, double> memory_of(const json& plan) {
  std::map<std::string, double> out;
  for (const json& stage : plan["stages"]) out[stage["name"]] = stage["memory_bytes"];
  return out;
}

TEST_F(Program, PlansAnInitFromCountsAsFromTheirCorpus) {
  const std::string counts = folder_ / "c.safetensors";
  ASSERT_EQ(run(Words{"count", "--quiet", "--output", counts} + from_corpus()).code, 0);
  const Words model = Words{"plan", "--json", "--quiet", "--recipe", "spread", "--arch", "llama"} + kModel;
  const Outcome o = run(model + Words{"--counts", counts});
  ASSERT_EQ(o.code, 0) << o;
  const json plan = json::parse(o.out), other = json::parse(run(model + from_corpus()).out);
  EXPECT_EQ(plan["tokens"], 4614);
  EXPECT_EQ(plan["vocab"], 200);
  EXPECT_EQ(plan["stages"][0]["note"], "counted already");
  EXPECT_FALSE(plan.contains("count"));  // nothing is counted
  const auto from_counts = memory_of(plan), from_text = memory_of(other);
  ASSERT_EQ(from_counts.size(), from_text.size());
  // But for what the program itself has by then, which under the sanitizers is another at every start.
  const double own = from_counts.at("emit") - from_text.at("emit");
  for (const auto& [name, bytes] : from_text) {
    EXPECT_NEAR(from_counts.at(name), bytes + own, 8 << 20) << name;  // the estimated pairs
  }
  EXPECT_TRUE(
      refused(run(model + Words{"--counts", counts, "--corpus", corpus_}), 2, {"--counts and --corpus"}));
  EXPECT_TRUE(refused(run(model + Words{"--counts", counts, "--tokens", "9"}), 2, {"--counts and --tokens"}));
  EXPECT_TRUE(refused(run(model + Words{"--counts", counts, "--lags", "9"}), 2, {"holds 8 lags"}));
  EXPECT_TRUE(refused(run(model + Words{"--counts", folder_ / "none"}), 3, {"no such file"}));
}

TEST_F(Program, TellsAboutItself) {
  const Outcome doctor = run({"doctor", "--json"});
  ASSERT_EQ(doctor.code, 0) << doctor;
  const json out = json::parse(doctor.out);
  EXPECT_EQ(out["backends"]["cpu"]["usable"], true);
  EXPECT_EQ(out["model_architectures"], json({"arcee", "gpt2", "llama", "mixtral", "nanogpt-rope", "nanogpt",
                                              "neox", "olmo", "phi3", "starcoder2"}));
  EXPECT_EQ(run({"doctor"}).code, 0);
  const Outcome version = run({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_TRUE(version.out.starts_with("aloft " + out["version"].get<std::string>())) << version;
  for (const Words& words :
       {Words{"--help"}, Words{"init", "--help"}, Words{"count", "-h"}, Words{"inspect", "--help"}}) {
    const Outcome help = run(words);
    EXPECT_EQ(help.code, 0);
    EXPECT_EQ(help.err, "");
    EXPECT_NE(help.out.find("Exit codes: 0 ok"), std::string::npos) << help;
  }
}

// ---- Refusals ----

TEST_F(Program, UsageErrorsExitWithTwo) {
  const Words model = Words{"--arch", "gpt2"} + kModel;
  const Words plain = from_corpus() + model, good = plain + Words{"--recipe", "spread"};
  const Words out{"--output", folder_ / "run"};
  const std::pair<Words, std::string> errors[] = {
      {{}, "subcommand"},
      {{"initialise"}, "unknown command"},
      {Words{"init", "--colour", "red"} + good + out, "--colour"},
      {Words{"init"} + good, "--output"},
      {Words{"count"} + from_corpus(), "--output"},
      {Words{"count"} + out, "--corpus"},
      {Words{"init"} + model + out, "--corpus"},
      {Words{"init", "--arch", "bert"} + from_corpus() + kModel + out, "bert"},
      {Words{"init"} + from_corpus() + kModel + out, "--arch"},
      {Words{"init", "--pr-target", "33"} + good + out, "33"},
      {Words{"init", "--pr-target", "0"} + good + out, "--pr-target"},
      {Words{"init", "--pr-target", "nan"} + good + out, "--pr-target"},
      {Words{"init", "--memory", "lots"} + good + out, "lots"},
      {Words{"init", "--memory", "-1G"} + good + out, "-1G"},
      {Words{"init", "--memory", "0"} + good + out, "0"},
      {Words{"init", "--memory", "5Q"} + good + out, "5Q"},
      {Words{"init", "--memory", ""} + good + out, "--memory: an empty value"},
      {Words{"init", "--device", ""} + good + out, "--device: an empty value"},
      {Words{"count", "--output", corpus_, "--force"} + from_corpus(), "is read by this run"},
      {Words{"count", "--output", folder_ / "a", "--vocab-output", folder_ / "a"} + from_corpus(),
       "the same file"},
      {Words{"count", "--output", folder_.path.string(), "--force"} + from_corpus(), "is a folder"},
      {Words{"init", "--seed", "-1"} + good + out, "--seed"},
      {Words{"init", "--seed", "1.5"} + good + out, "--seed"},
      {Words{"init", "--lags", "0"} + good + out, "--lags"},
      {Words{"init", "--lags", "65"} + good + out, "--lags"},
      {Words{"init", "--lags"} + good + out, "--lags"},
      {Words{"init", "--recipe", "magic"} + plain + out, "magic"},
      {Words{"init", "--pr-target", "8"} + plain + out,
       "--pr-target is not for the default recipe, offset: say which one, --recipe spread"},
      {Words{"init", "--mimetic-key", "1"} + plain + out, "--recipe mimetic"},
      {Words{"plan", "--no-embedding"} + plain, "--no-embedding is not for the default recipe"},
      {Words{"init", "--dtype", "f64"} + good + out, "f64"},
      {Words{"init", "--backend", "tpu"} + good + out, "tpu"},
      {Words{"init", "--noise", "-1"} + good + out, "--noise"},
      {Words{"init", "--layer-lags", "1,9"} + good + out, "9"},
      {Words{"init", "--expand", "stack", "--stack-weights", "1,2"} + good + out, "--stack-weights"},
      {Words{"init", "--layer-lags", "1,1,1"} + good + out, "--layer-lags"},
      {Words{"init", "--embedding", "none.npy"} + good + out, "none.npy"},
      {Words{"init", "--embedding", corpus_} + good + out, ".npy"},
      {Words{"init", "--counts", corpus_} + good + out, "--counts"},
      {Words{"init", "--tokenizer", "bpe"} + good + out, "bpe"},
      {Words{"init", "--tokenizer", "bytes"} + good + out, "--vocab-size"},
      {Words{"init", "--kv-heads", "1"} + good + out, "key-value"},
      {Words{"init", "--corpus", corpus_} + model + out, "--vocab-size"},
      {Words{"init", "--corpus", "-", "--corpus", "-", "--vocab-size", "9"} + model + out, "stdin"},
      {Words{"init", "--doc-sep-id", "3"} + good + out, "--doc-sep-id"},
      {{"init", "--output", folder_ / "run", "--arch", "gpt2", "--layers", "2", "--recipe", "random"},
       "--d-model"},
      {Words{"inspect"}, "file"}};
  for (const auto& [words, mention] : errors) {
    SCOPED_TRACE(fmt::format("aloft {}", fmt::join(words, " ")));
    EXPECT_TRUE(refused(run(words), 2, {mention}));
    EXPECT_FALSE(fs::exists(folder_ / "run"));
  }
}

TEST_F(Program, WhatWouldNotFitExitsWithFour) {
  const Words model = Words{"--arch", "gpt2"} + kModel + from_corpus();
  EXPECT_TRUE(refused(run(Words{"init", "--quiet", "--memory", "1M", "--output", folder_ / "run"} + model), 4,
                      {"memory"}));
  EXPECT_TRUE(refused(run(Words{"count", "--quiet", "--strategy", "dense", "--memory", "1M", "--output",
                                folder_ / "c.safetensors"} +
                          from_corpus()),
                      4, {"memory"}));
  EXPECT_EQ(folder_.names(), Words{"corpus.txt"});
  EXPECT_EQ(run(Words{"plan", "--quiet", "--memory", "1M"} + model).code, 4);
}

}  // namespace
}  // namespace aloft::cli_tests
