#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "tests/malformed_cases.hpp"

// The offset recipe and its family through the program: files, tensors, notes, resumption, refusals.

namespace aloft::cli_tests {
namespace {

using nlohmann::json;

const Words kOffsetModel{"--layers", "2", "--d-model", "64", "--heads", "4", "--context", "32"};

json header_in(const std::string& path) {
  const std::string file = content(path);
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  return json::parse(file.substr(8, length));
}
bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class OffsetProgram : public testing::Test {
 protected:
  void SetUp() override { corpus_ = folder_.file("corpus.txt", sample_text(6000)); }
  [[nodiscard]] Words from_corpus() const { return {"--corpus", corpus_, "--vocab-size", "200"}; }
  [[nodiscard]] Words init(const std::string& output, const std::string& recipe = "offset",
                           const std::string& arch = "llama") const {
    return Words{"init", "--recipe", recipe, "--arch", arch, "--output", folder_ / output} + kOffsetModel;
  }
  [[nodiscard]] Words names(const std::string& run) const {
    Words out;
    for (const auto& entry : fs::directory_iterator(folder_ / run)) out.push_back(entry.path().filename());
    std::sort(out.begin(), out.end());
    return out;
  }
  [[nodiscard]] json report(const std::string& run) const {
    return json::parse(content(folder_ / (run + "/offset.json")));
  }
  [[nodiscard]] std::string tensors(const std::string& run) const {
    return content(folder_ / (run + "/init.safetensors"));
  }
  Folder folder_;
  std::string corpus_;
};

TEST_F(OffsetProgram, EveryMemberOfTheFamilyForEveryArchitecture) {
  const std::map<std::string, std::size_t> parts{{"llama", 2 + 2 * 4},
                                                 {"gpt2", 4 + 2 * 2},
                                                 {"nanogpt", 3 + 2 * 2},
                                                 {"nanogpt-rope", 2 + 2 * 2},
                                                 {"neox", 2 + 2 * 2}};
  std::set<std::string> different;
  for (const auto& [arch, count] : parts)
    for (const char* recipe : {"offset", "bigram-head", "embedding", "unigram", "induction"}) {
      // with a tied head, layer 0 of these has no head to spare
      if (recipe == std::string("induction") && arch != "llama" && arch != "neox") continue;
      const std::string run_name = arch + "-" + recipe;
      SCOPED_TRACE(run_name);
      const Outcome o = run(init(run_name, recipe, arch) + from_corpus() + Words{"--quiet"});
      ASSERT_EQ(o.code, 0) << o;
      EXPECT_EQ(o.err, "");
      Words wanted{"counts.safetensors", "factors.safetensors", "init.safetensors",
                   "manifest.json",      "offset.json",         "vocab.json"};
      if (recipe == std::string("unigram")) std::erase(wanted, "factors.safetensors");
      EXPECT_EQ(names(run_name), wanted);
      json header = header_in(folder_ / (run_name + "/init.safetensors"));
      const json metadata = header["__metadata__"];
      EXPECT_EQ(metadata["recipe"], recipe);
      EXPECT_EQ(metadata["orientation"], arch == "gpt2" ? "in_out" : "out_in");
      EXPECT_EQ(metadata["tied_head"], arch == "llama" || arch == "neox" ? "false" : "true");
      EXPECT_EQ(metadata["heads"], "4");
      EXPECT_EQ(metadata["kv_heads"], "4");
      EXPECT_EQ(metadata.value("rope_base", "none"), arch == "gpt2" || arch == "nanogpt" ? "none" : "10000");
      EXPECT_EQ(metadata.value("rope_scaling", ""), metadata.contains("rope_base") ? "none" : "");
      header.erase("__metadata__");
      EXPECT_EQ(header.size(), count) << header.dump();
      EXPECT_TRUE(different.insert(tensors(run_name)).second) << "the same tensors as another member";
      for (const std::string& name : names(run_name)) {
        const Outcome seen = run({"inspect", folder_ / (run_name + "/" + name)});
        EXPECT_EQ(seen.code, 0) << name << ": " << seen;
      }
      const json r = report(run_name);
      EXPECT_EQ(r["recipe"], recipe);
      EXPECT_EQ(r["control"], "none");
      EXPECT_EQ(r.contains("estimator"), recipe != std::string("unigram")) << "which estimates nothing";
      if (recipe == std::string("offset")) {
        ASSERT_EQ(r["lags"].size(), 2u);
        EXPECT_EQ(r["lags"][1]["layer"], 0);
        EXPECT_GT(r["chosen_on"]["positions"], 100);
        EXPECT_LT(r["chosen_on"]["loss"], r["chosen_on"]["unigram_loss"]);
        // a quarter of neox's rows rotate: few frequencies, a blunter look
        EXPECT_GT(r["layers"][0]["lag1_mass_on_offset"], arch == "neox" ? 0.1 : 0.5);
        EXPECT_EQ(r["participation_ratio_of_realised_maps"].size(), 2u);
      }
    }
}

TEST_F(OffsetProgram, ManyIdsForEachCoordinateTakeTuckerAndOneLagALayer) {
  const Words narrow{"--arch",    "llama", "--layers",  "2",  "--heads", "4",
                     "--d-model", "16",    "--context", "16", "--quiet"};
  const auto design = [&](const std::string& name, const std::string& ids, const Words& more = {}) {
    const Outcome o = run(
        Words{"init", "--output", folder_ / name, "--corpus", corpus_, "--vocab-size", ids} + narrow + more);
    EXPECT_EQ(o.code, 0) << o;
    const json r = report(name);
    return fmt::format("{} {} {}", r["estimator"].get<std::string>(), r["lags"].size(),
                       r["lags"].back()["layer"].get<int>());
  };
  EXPECT_EQ(design("few", "512"), "discriminant 2 0");
  EXPECT_EQ(design("many", "513"), "tucker 2 1");
  EXPECT_EQ(design("told", "513", {"--estimator", "discriminant"}), "discriminant 2 1");
  EXPECT_EQ(design("scalar", "513", {"--alpha", "0.4"}), "discriminant 2 1");
  EXPECT_EQ(design("auto", "513", {"--estimator", "auto"}), "tucker 2 1");
  EXPECT_EQ(tensors("auto"), tensors("many"));
}

TEST_F(OffsetProgram, EstimatorsControlsAndScalarsChangeWhatIsDesigned) {
  const std::map<std::string, Words> variants{{"plain", {}},
                                              {"tucker", {"--estimator", "tucker"}},
                                              {"shuffled", {"--control", "shuffled"}},
                                              {"reversed", {"--control", "reversed"}},
                                              {"alpha", {"--alpha", "0.3"}},
                                              {"kappa", {"--kappa", "77"}},
                                              {"ridge", {"--ridge", "2"}},
                                              {"soft", {"--sharpness", "4"}},
                                              {"small", {"--write-norm", "0.5"}},
                                              {"prior", {"--prior-sharpness", "3"}},
                                              {"recency", {"--recency", "2"}},
                                              {"induction", {"--induction"}},
                                              {"silent", {"--zero-outputs"}},
                                              {"mimetic", {"--background", "mimetic"}},
                                              {"one-head", {"--source-dims", "16"}},
                                              {"early", {"--source-dims", "16", "--offset-layers", "0,0,1"}},
                                              {"one", {"--offset-lags", "1"}}};
  std::set<std::string> different;
  for (const auto& [name, flags] : variants) {
    const Outcome o = run(init(name) + from_corpus() + flags + Words{"--quiet"});
    ASSERT_EQ(o.code, 0) << o;
    EXPECT_TRUE(different.insert(tensors(name)).second) << name;
  }
  EXPECT_EQ(report("alpha")["scalars"]["alpha"], 0.3);
  EXPECT_EQ(report("kappa")["scalars"]["kappa"], 77);
  EXPECT_EQ(report("ridge")["scalars"]["ridge"], 2);
  EXPECT_EQ(report("tucker")["estimator"], "tucker");
  EXPECT_EQ(report("shuffled")["control"], "shuffled");
  EXPECT_EQ(report("early")["lags"][2]["layer"], 1);
  EXPECT_EQ(report("one")["lags"].size(), 1u);
  EXPECT_EQ(report("one-head")["source_dims"], 16);
  const auto gain = [&](const char* name) {
    const json r = report(name)["chosen_on"];
    return r["unigram_loss"].get<double>() - r["loss"].get<double>();
  };
  EXPECT_GT(gain("plain"), 0.1);
  EXPECT_GT(gain("reversed"), 0.1);
  EXPECT_LT(gain("shuffled"), 0.03);  // nothing to learn there
}

TEST_F(OffsetProgram, SilentBeginningsZeroTheMlp) {
  ASSERT_EQ(run(init("g", "offset", "gpt2") + from_corpus() + Words{"--zero-outputs", "--quiet"}).code, 0);
  EXPECT_EQ(header_in(folder_ / "g/init.safetensors")["transformer.h.1.mlp.c_proj.weight"]["shape"],
            json({256, 64}));
  const Outcome unknown = run(init("l") + from_corpus() + Words{"--zero-outputs"});
  EXPECT_EQ(unknown.code, 0);
  EXPECT_TRUE(holds(unknown.err, "MLP's output projection is left to the model: give --mlp-width"))
      << unknown;
  ASSERT_EQ(run(init("w") + from_corpus() + Words{"--zero-outputs", "--mlp-width", "40", "--quiet"}).code, 0);
  EXPECT_EQ(header_in(folder_ / "w/init.safetensors")["model.layers.0.mlp.down_proj.weight"]["shape"],
            json({64, 40}));

  // wide weights: what the MLPs would add is bounded, where their width is known
  const Outcome wide = run(init("wide") + from_corpus() + Words{"--init-std", "0.2"});
  EXPECT_EQ(wide.code, 0);
  EXPECT_TRUE(holds(wide.err, "whose usual one adds more than this recipe's heads: give --mlp-width"))
      << wide;
  ASSERT_EQ(
      run(init("bounded") + from_corpus() + Words{"--init-std", "0.2", "--mlp-width", "170", "--quiet"}).code,
      0);
  EXPECT_EQ(header_in(folder_ / "bounded/init.safetensors")["model.layers.1.mlp.down_proj.weight"]["shape"],
            json({64, 170}));
  ASSERT_EQ(run(init("usual") + from_corpus() + Words{"--mlp-width", "170"}).code, 0);
  EXPECT_FALSE(header_in(folder_ / "usual/init.safetensors").contains("model.layers.1.mlp.down_proj.weight"));

  const Outcome zero = run(init("z", "zero-proj", "gpt2") + Words{"--quiet"});  // reads no corpus
  ASSERT_EQ(zero.code, 0) << zero;
  EXPECT_EQ(names("z"), (Words{"init.safetensors", "manifest.json"}));
  const json header = header_in(folder_ / "z/init.safetensors");
  const std::string file = content(folder_ / "z/init.safetensors");
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  for (const auto& [name, tensor] : header.items()) {
    if (name == "__metadata__") continue;
    const std::string data = file.substr(
        8 + length + tensor["data_offsets"][0].get<std::size_t>(),
        tensor["data_offsets"][1].get<std::size_t>() - tensor["data_offsets"][0].get<std::size_t>());
    EXPECT_EQ(data.find_first_not_of('\0') == std::string::npos, name.ends_with("c_proj.weight")) << name;
  }
}

TEST_F(OffsetProgram, CountsCarryTheirSlice) {
  const std::string counts = folder_ / "c.safetensors";
  ASSERT_EQ(run(Words{"count", "--quiet", "--output", counts} + from_corpus()).code, 0);
  ASSERT_EQ(run(init("counted") + Words{"--quiet", "--counts", counts}).code, 0);
  ASSERT_EQ(run(init("direct") + Words{"--quiet"} + from_corpus()).code, 0);
  EXPECT_EQ(tensors("counted") == tensors("direct"), true);
  EXPECT_EQ(report("counted"), report("direct"));
}

TEST_F(OffsetProgram, CountsWithoutASliceGetDefaultsAndANote) {
  const std::string note = "these counts hold no slice of their text";
  const Words tiny{
      "--layers", "1",      "--d-model", "8",        "--heads",
      "2",        "--lags", "2",         "--counts", folder_.file("c.safetensors", sound_counts().file())};
  const Outcome o =
      run(Words{"init", "--recipe", "offset", "--arch", "llama", "--output", folder_ / "run"} + tiny);
  ASSERT_EQ(o.code, 0) << o;
  EXPECT_TRUE(holds(o.err, note)) << o;
  EXPECT_EQ(report("run")["chosen_on"]["positions"], 0);
  EXPECT_EQ(report("run")["scalars"]["kappa"], 30);
  const Outcome with = run(init("with") + from_corpus());
  EXPECT_EQ(with.code, 0);
  EXPECT_FALSE(holds(with.err, note));
  const Outcome unigram = run(init("unigram", "unigram") + from_corpus());
  EXPECT_FALSE(holds(unigram.err, note)) << "unigram has no scalars to choose";
}

TEST_F(OffsetProgram, RecencyAndInductionThatMakeNoSenseAreRefused) {
  EXPECT_TRUE(
      refused(run(init("a") + from_corpus() + Words{"--recency", "-1"}), 2, {"--recency", "number from 0"}));
  for (const char* scalar : {"--alpha", "--ridge"})
    EXPECT_TRUE(refused(run(init("a") + from_corpus() + Words{"--estimator", "tucker", scalar, "3"}), 2,
                        {"--estimator tucker", "scalars of discriminant"}));
  EXPECT_TRUE(refused(run(init("b", "bigram-head") + from_corpus() + Words{"--induction"}), 2,
                      {"--induction is not for recipe bigram-head, but for offset, induction"}));
}

TEST_F(OffsetProgram, FewIdsMakeFewDirections) {
  const Words few{"--corpus", folder_.file("few.txt", "a b a c a b\n"), "--vocab-size", "5", "--quiet"};
  EXPECT_EQ(run(init("unigram", "unigram") + few).code, 0);
  const Outcome o = run(init("offset") + few);
  EXPECT_EQ(o.code, 0) << o;
  EXPECT_LE(report("offset")["source_dims"], 5);
  EXPECT_LE(report("offset")["output_dims"], 5);
  EXPECT_TRUE(
      refused(run(init("more") + few + Words{"--source-dims", "6"}), 2, {"--source-dims 6", "5 ids"}));
}

TEST_F(OffsetProgram, SameBytesForAnyThreadsStrategyAndFromItsManifest) {
  ASSERT_EQ(
      run(init("one") + from_corpus() + Words{"--quiet", "--threads", "1", "--estimator", "tucker"}).code, 0);
  ASSERT_EQ(
      run(init("two") + from_corpus() + Words{"--quiet", "--threads", "2", "--estimator", "tucker"}).code, 0);
  ASSERT_EQ(
      run(init("sparse") + from_corpus() + Words{"--quiet", "--strategy", "sparse", "--estimator", "tucker"})
          .code,
      0);
  ASSERT_EQ(
      run({"init", "--quiet", "--config", folder_ / "one/manifest.json", "--output", folder_ / "again"}).code,
      0);
  for (const char* other : {"two", "sparse", "again"})
    for (const char* name : {"init.safetensors", "factors.safetensors", "counts.safetensors", "offset.json"})
      EXPECT_EQ(content(folder_.path / other / name) == content(folder_.path / "one" / name), true)
          << other << " " << name;
}

TEST_F(OffsetProgram, ResumesAfterCountsAndAfterFactors) {
  const Words large{"init",
                    "--recipe",
                    "offset",
                    "--arch",
                    "llama",
                    "--layers",
                    "4",
                    "--d-model",
                    "256",
                    "--heads",
                    "4",
                    "--corpus",
                    folder_.file("large.txt", sample_text(15000, 3, 2500)),
                    "--vocab-size",
                    "300"};
  ASSERT_EQ(run(large + Words{"--quiet", "--output", folder_ / "whole"}).code, 0);
  int stopped = 0;
  for (const char* stage : {"counts.safetensors", "factors.safetensors"}) {
    const Words command = large + Words{"--output", folder_ / "run"};
    for (int attempt = 0; attempt < 5; ++attempt) {
      Process process(command);
      ASSERT_TRUE(process.wait_until([&] { return fs::exists(folder_.path / "run" / stage); }))
          << process.wait();
      process.send(SIGINT);
      const Outcome o = process.wait();
      if (o.code == 0) {  // it was through before the signal came
        fs::remove_all(folder_ / "run");
        continue;
      }
      EXPECT_EQ(o.code, 5) << o;
      ++stopped;
      break;
    }
    const Outcome again = run(command);
    ASSERT_EQ(again.code, 0) << again;
    EXPECT_TRUE(holds(again.err, "count       resumed")) << again;
    EXPECT_EQ(holds(again.err, "factors     resumed"), stage == std::string("factors.safetensors")) << again;
    for (const char* name : {"init.safetensors", "factors.safetensors", "offset.json"})
      EXPECT_EQ(content(folder_.path / "run" / name) == content(folder_.path / "whole" / name), true) << name;
    fs::remove_all(folder_ / "run");
  }
  EXPECT_GE(stopped, 1);  // what follows the factors may be through before a signal comes
}

TEST_F(OffsetProgram, PlansItsStagesWithoutWork) {
  const Outcome o = run(Words{"plan", "--json", "--recipe", "offset", "--arch", "llama", "--tokens",
                              "1000000000", "--vocab-size", "50000", "--memory", "64G"} +
                        kOffsetModel);
  ASSERT_EQ(o.code, 0) << o;
  Words stages;
  const json plan = json::parse(o.out);
  for (const auto& s : plan["stages"]) stages.push_back(s["name"]);
  EXPECT_EQ(stages, (Words{"count", "factors", "compose", "emit", "report"}));
  EXPECT_EQ(
      run(Words{"plan", "--quiet", "--recipe", "offset", "--arch", "gpt2"} + kOffsetModel + from_corpus())
          .code,
      0);

  // the file with every tensor that the recipe writes, with MLP outputs or without
  for (const Words& outputs : {Words{"--quiet"}, Words{"--quiet", "--zero-outputs"}}) {
    const Outcome disk = run(Words{"plan", "--json", "--recipe", "offset", "--arch", "gpt2"} + kOffsetModel +
                             from_corpus() + outputs);
    ASSERT_EQ(disk.code, 0) << disk;
    const std::string name = "g" + std::to_string(outputs.size());
    ASSERT_EQ(run(init(name, "offset", "gpt2") + from_corpus() + outputs).code, 0);
    const double written = static_cast<double>(fs::file_size(folder_ / (name + "/init.safetensors")));
    double planned = 0;
    const json rows = json::parse(disk.out)["stages"];
    for (const auto& row : rows)
      if (row["name"] == "emit") planned = row["disk_bytes"].get<double>();
    EXPECT_GE(planned + 4096, written) << "beside the file's header";
    EXPECT_LE(planned, 1.05 * written);
  }
}

TEST_F(OffsetProgram, WhatCannotBeHostedIsRefusedBeforeCounting) {
  const auto arch = [&](const std::string& name, const std::string& from, const std::string& to) {
    return folder_.file(name, replaced(kSoundArchitecture, from, to));
  };
  const std::string rope = R"({"kind": "rope", "pairing": "half", "base": 10000})";
  const std::pair<Words, Words> errors[] = {
      {{"--arch", arch("alibi.json", rope, R"({"kind": "alibi"})")}, {"cannot be placed in mine", "ALiBi"}},
      {{"--arch", arch("none.json", rope, R"({"kind": "none"})")}, {"cannot be placed in mine", "NoPE"}},
      {{"--arch", arch("qk.json", R"("qk_norm": false)", R"("qk_norm": true)")},
       {"normalises queries and keys"}},
      {{"--arch", arch("tied.json", "mine", "mine")}, {"tensors.final_norm"}},
      {{"--arch", "gpt2", "--heads", "1"}, {"second key-value head"}},
      {{"--arch", "llama", "--source-dims", "65"}, {"--source-dims 65"}},
      {{"--arch", "llama", "--offset-layers", "0,2"}, {"layer 2 is not among 0..1"}},
      {{"--arch", "llama", "--offset-layers", "0,0,0"}, {"would need 6 key-value heads"}},
      {{"--arch", "llama", "--offset-lags", "9"}, {"raise --lags"}},
      {{"--arch", "llama", "--sharpness", "0"}, {"--sharpness"}},
      {{"--arch", "llama", "--alpha", "-1"}, {"--alpha"}},
      {{"--arch", "llama", "--estimator", "magic"}, {"magic"}},
      {{"--arch", "llama", "--control", "magic"}, {"magic"}},
      {{"--arch", "llama", "--background", "magic"}, {"magic"}}};
  for (const auto& [flags, mentions] : errors) {
    SCOPED_TRACE(fmt::format("{}", fmt::join(flags, " ")));
    const Words model = std::find(flags.begin(), flags.end(), "--heads") == flags.end()
                            ? kOffsetModel
                            : Words{"--layers", "2", "--d-model", "64", "--context", "32"};
    EXPECT_TRUE(refused(run(Words{"init", "--quiet", "--recipe", "offset", "--output", folder_ / "run"} +
                            from_corpus() + flags + model),
                        2, mentions));
    EXPECT_FALSE(fs::exists(folder_ / "run"));
  }
}

}  // namespace
}  // namespace aloft::cli_tests
