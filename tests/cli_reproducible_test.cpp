#include <nlohmann/json.hpp>

#include "tests/cli_helpers.hpp"

// The same request gives the same bytes: whatever the threads, the counting strategy, the folder; from flags,
// from a config, from a finished run's manifest.

namespace aloft::cli_tests {
namespace {

using nlohmann::json;

const Words kEveryFile{
    "init.safetensors",    "counts.safetensors",   "embedding.safetensors", "projections.safetensors",
    "spectra.safetensors", "expanded.safetensors", "spectra.json",          "vocab.json"};

class Reproducible : public testing::Test {
 protected:
  void SetUp() override { corpus_ = folder_.file("corpus.txt", sample_text(30000, 7, 900)); }
  [[nodiscard]] Words design() const {
    return {"--arch",   "llama", "--layers",     "3",   "--d-model", "64",    "--heads", "4",
            "--corpus", corpus_, "--vocab-size", "400", "--recipe",  "spread"};
  }
  [[nodiscard]] Outcome init(const std::string& output, const Words& flags) const {
    return run(Words{"init", "--quiet", "--output", folder_ / output} + flags);
  }
  [[nodiscard]] std::string bytes(const std::string& output,
                                  const std::string& name = "init.safetensors") const {
    return content(folder_.path / output / name);
  }
  void expect_same(const std::string& a, const std::string& b, const Words& names) const {
    for (const std::string& name : names)
      EXPECT_EQ(bytes(a, name) == bytes(b, name), true) << b << "/" << name;
  }

  Folder folder_;
  std::string corpus_;
};

TEST_F(Reproducible, AnyNumberOfThreads) {
  const std::pair<std::string, Words> designs[] = {
      {"spread", {"--null-tokens", "20000"}},
      {"whiten", {"--expand", "whiten", "--directions", "haar", "--seed", "3"}},
      {"stack", {"--expand", "stack", "--dtype", "bf16"}}};
  for (const auto& [name, flags] : designs) {
    for (const char* threads : {"1", "2", "4"})
      ASSERT_EQ(init(name + threads, design() + flags + Words{"--threads", threads}).code, 0);
    for (const char* threads : {"2", "4"}) expect_same(name + "1", name + threads, kEveryFile);
  }
  for (const char* recipe : {"mimetic", "invariants"}) {
    const Words flags{"--recipe", recipe,      "--arch", "llama",   "--layers",
                      "1",        "--d-model", "64",     "--heads", "4"};
    for (const char* threads : {"1", "4"})
      ASSERT_EQ(init(std::string(recipe) + threads, flags + Words{"--threads", threads}).code, 0);
    expect_same(std::string(recipe) + "1", std::string(recipe) + "4", {"init.safetensors"});
  }
}

TEST_F(Reproducible, AnyStrategyAndMemoryGiveTheSameCounts) {
  const char* small = under_sanitizers() ? "200M" : "40M";
  const std::pair<const char*, Words> ways[] = {{"dense", {"--strategy", "dense"}},
                                                {"sparse", {"--strategy", "sparse"}},
                                                {"small", {"--strategy", "sparse", "--memory", small}},
                                                {"threads", {"--strategy", "sparse", "--threads", "3"}},
                                                {"auto", {}}};
  for (const auto& [name, flags] : ways) {
    const Outcome o = run(Words{"count", "--quiet", "--corpus", corpus_, "--vocab-size", "400", "--output",
                                folder_ / (std::string(name) + ".safetensors")} +
                          flags);
    ASSERT_EQ(o.code, 0) << o;
    EXPECT_EQ(
        content(folder_ / (std::string(name) + ".safetensors")) == content(folder_ / "dense.safetensors"),
        true)
        << name;
  }
}

TEST_F(Reproducible, AnotherSeedIsAnotherInit) {
  ASSERT_EQ(init("a", design()).code, 0);
  ASSERT_EQ(init("b", design() + Words{"--seed", "1"}).code, 0);
  ASSERT_EQ(init("c", design() + Words{"--seed", "0"}).code, 0);
  EXPECT_EQ(bytes("a") == bytes("b"), false);
  EXPECT_EQ(bytes("a", "counts.safetensors") == bytes("b", "counts.safetensors"), true);
  expect_same("a", "c", kEveryFile);
}

TEST_F(Reproducible, AManifestIsAConfig) {
  const Words flags{"--seed",   "11",     "--noise",     "0.5",  "--layer-lags", "1,3,2",
                    "--expand", "temper", "--pr-target", "12.5", "--save-heads", "--no-embedding",
                    "--lags",   "4"};
  ASSERT_EQ(init("first", design() + flags).code, 0);
  const Outcome o = init("second", {"--config", folder_ / "first/manifest.json"});
  ASSERT_EQ(o.code, 0) << o;
  expect_same("first", "second", kEveryFile + Words{"heads.safetensors"});
  json a = json::parse(bytes("first", "manifest.json")), b = json::parse(bytes("second", "manifest.json"));
  EXPECT_EQ(a["backend"], a["manifest"]["backend"]) << "auto may be another backend on another machine";
  EXPECT_NE(a["backend"], "auto");
  for (json* m : {&a, &b}) (*m)["manifest"].erase("stages");  // the only part that says how long it took
  EXPECT_EQ(a, b);

  // A flag wins over the manifest.
  ASSERT_EQ(init("third", {"--config", folder_ / "first/manifest.json", "--seed", "12"}).code, 0);
  ASSERT_EQ(init("fourth", design() + flags + Words{"--seed", "12"}).code, 0);
  expect_same("third", "fourth", {"init.safetensors"});
  EXPECT_EQ(bytes("first") == bytes("third"), false);
}

TEST_F(Reproducible, AManifestNamesItsFilesWhereverItIsReadFrom) {
  ASSERT_EQ(run({"count", "--quiet", "--corpus", corpus_, "--vocab-size", "300", "--output",
                 folder_ / "c.safetensors", "--vocab-output", folder_ / "vocab.json"})
                .code,
            0);
  const fs::path here = fs::current_path();
  fs::current_path(folder_.path);
  const Outcome first =
      run({"init", "--quiet", "--output", "first", "--arch", "gpt2", "--recipe", "spread", "--layers", "1",
           "--d-model", "32", "--corpus", "corpus.txt", "--vocabulary", "vocab.json"});
  fs::current_path(here);
  ASSERT_EQ(first.code, 0) << first;
  const Outcome o = init("second", {"--config", folder_ / "first/manifest.json"});
  ASSERT_EQ(o.code, 0) << o;
  expect_same("first", "second", kEveryFile);
}

TEST_F(Reproducible, AChangedCorpusIsNotTheManifests) {
  ASSERT_EQ(init("first", design()).code, 0);
  const std::string before = content(corpus_);
  folder_.file("corpus.txt", before + "one more word\n");
  EXPECT_TRUE(refused(init("second", {"--config", folder_ / "first/manifest.json"}), 3,
                      {corpus_, "changed", "corpus-hash"}));
  EXPECT_FALSE(fs::exists(folder_ / "second"));
  const Outcome o = init("third", {"--config", folder_ / "first/manifest.json", "--corpus", corpus_});
  ASSERT_EQ(o.code, 0) << o;
  EXPECT_EQ(bytes("first") == bytes("third"), false);
  folder_.file("corpus.txt", before);
  EXPECT_EQ(init("fourth", {"--config", folder_ / "first/manifest.json"}).code, 0);
  expect_same("first", "fourth", kEveryFile);
}

TEST_F(Reproducible, AYamlConfigStandsForFlags) {
  const std::string config = folder_.file(
      "run.yaml", "# a run\narch: llama\nrecipe: spread\nlayers: 3\nd-model: 64\nheads: 4\ncorpus: [" +
                      corpus_ +
                      "]\nvocab-size: 400\nlags: 4\nlayer-lags: [1, 3, 2]\npr-target: "
                      "12.5\nsave-heads: true\nno-embedding: "
                      "false\nquiet: yes\nseed: 5\n");
  const Words flags{"--lags", "4", "--layer-lags", "1,3,2", "--pr-target", "12.5", "--save-heads"};
  const Outcome o = run({"init", "--config", config, "--output", folder_ / "yaml"});
  ASSERT_EQ(o.code, 0) << o;
  EXPECT_EQ(o.err, "");
  ASSERT_EQ(init("flags", design() + flags + Words{"--seed", "5"}).code, 0);
  expect_same("flags", "yaml", kEveryFile + Words{"heads.safetensors"});

  // Flags win, on either side of --config, lists too.
  ASSERT_EQ(init("before", {"--seed", "6", "--layer-lags", "2,2,2", "--config", config}).code, 0);
  ASSERT_EQ(init("after", {"--config", config, "--seed", "6", "--layer-lags", "2,2,2"}).code, 0);
  ASSERT_EQ(init("neither", design() + Words{"--lags", "4", "--pr-target", "12.5", "--save-heads", "--seed",
                                             "6", "--layer-lags", "2,2,2"})
                .code,
            0);
  expect_same("neither", "before", kEveryFile);
  expect_same("neither", "after", kEveryFile);
  EXPECT_EQ(bytes("neither") == bytes("yaml"), false);
}

}  // namespace
}  // namespace aloft::cli_tests
