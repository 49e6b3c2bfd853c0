#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "tests/cli_helpers.hpp"

// The corpus' flags and words end to end: commands that a refusal advises, coverage, documents in text,
// folders.

namespace aloft::cli_tests::corpus {
namespace {

using nlohmann::json;

json report(const Outcome& o) {
  EXPECT_EQ(o.code, 0) << o;
  return json::parse(o.out, nullptr, false);
}

class CorpusProgram : public testing::Test {
 protected:
  [[nodiscard]] Words count(const Words& flags) const {
    return Words{"count",   "--json",       "--lags",
                 "1",       "--vocab-size", "50",
                 "--force", "--output",     folder_ / "c.safetensors"} +
           flags;
  }
  [[nodiscard]] Words init(const Words& flags, const std::string& output) const {
    return Words{"init",    "--arch",   "gpt2",          "--layers", "1",        "--d-model", "8",
                 "--heads", "1",        "--lags",        "2",        "--recipe", "spread",    "--pr-target",
                 "2",       "--output", folder_ / output} +
           flags;
  }
  Folder folder_;
};

/// What a shell command writes to stdout.
std::string shell(const std::string& command) {
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("popen");
  std::string out;
  char block[4096];
  for (std::size_t n = 0; (n = std::fread(block, 1, sizeof block, pipe)) > 0;) out.append(block, n);
  EXPECT_EQ(::pclose(pipe), 0) << command;
  return out;
}

bool has_tool(const std::string& name) {
  return std::system(("command -v " + name + " > /dev/null 2>&1").c_str()) == 0;
}

/// `text` with every `from` replaced.
std::string with(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

// Taken from the message, given the file and the program's own flags, and run: it counts the texts.
TEST_F(CorpusProgram, TheCommandsThatRefusalsAdviseWork) {
  const std::string a = "the cat sat on the mat", b = "it \"left\", then\nsat";
  const auto sound = report(run(count({"--corpus", folder_.file("a.txt", a), folder_.file("b.txt", b)})));
  (void)folder_.file("plain", a);
  (void)shell("gzip -c " + folder_ / "plain" + " > " + folder_ / "a.gz");
  struct Case {
    std::string tool, file, begins, ends;
    std::uint64_t tokens, pairs;
  };
  std::vector<Case> cases{{"gzip", "a.gz", "into the program: ", "", 6, 5}};
  const std::uint64_t tokens = sound["tokens"], pairs = sound["lags"][0]["pairs"];
  const auto records = [&](const std::string& tool, const std::string& name, const std::string& text) {
    (void)folder_.file(name, text);
    cases.push_back({tool, name, "out of it with ", " (or --format", tokens, pairs});
  };
  const json one{{"id", "1"}, {"text", a}}, two{{"id", "2"}, {"text", b}};
  records("jq", "a.jsonl", one.dump() + "\n" + two.dump() + "\n");
  records("jq", "list.json", json{one, two}.dump(1));
  records("jq", "strings.json", json{a, b}.dump());
  records("python3", "a.csv", "id,text\n1," + a + "\n2,\"it \"\"left\"\", then\nsat\"\n");
  records("python3", "a.tsv", "1\t" + a + "\n2\t\"it \"\"left\"\", then\nsat\"\n");
  int tried = 0;
  for (const Case& c : cases) {
    if (!has_tool(c.tool)) continue;
    ++tried;
    const Outcome o = run(count({"--corpus", folder_ / c.file}));
    ASSERT_TRUE(refused(o, 3, {c.file})) << o;
    const std::size_t begin = o.err.find(c.begins) + c.begins.size();
    std::string command =
        o.err.substr(begin, c.ends.empty() ? o.err.size() - 1 - begin : o.err.find(c.ends) - begin);
    command = with(with(command, "FILE", folder_ / c.file), "aloft ...",
                   fmt::format("{} {} --quiet", program_path(), fmt::join(count({}), " ")));
    const json got = json::parse(shell(command), nullptr, false);
    EXPECT_EQ(got["tokens"], c.tokens) << command;
    EXPECT_EQ(got["lags"][0]["pairs"], c.pairs) << command;
  }
  EXPECT_GE(tried, 1);  // gzip is everywhere
}

TEST_F(CorpusProgram, TheShareOfUnknownTokensIsToldAndWarnedOf) {
  const std::string corpus = folder_.file("t.txt", "a a a a b b c d e a");  // 3 of 10 beyond <unk>, a, b
  const Words flags{"--corpus", corpus, "--vocab-size", "3"};
  const Outcome o = run(count(flags));
  const json counted = report(o);
  EXPECT_EQ(counted["unknown_tokens"], 3);
  EXPECT_DOUBLE_EQ(counted["unknown_share"], 0.3);
  EXPECT_NE(o.err.find("warning: 30.00% of the tokens are <unk>"), std::string::npos) << o;
  const Outcome covered = run(count({"--corpus", corpus}));
  EXPECT_EQ(report(covered)["unknown_tokens"], 0);
  EXPECT_NE(covered.err.find("note: 0.00% of the tokens are <unk>"), std::string::npos) << covered;
  EXPECT_FALSE(report(run(count({"--corpus", corpus, "--tokenizer", "bytes", "--vocab-size", "256"})))
                   .contains("unknown_share"));

  const json summary = report(run({"inspect", "--json", folder_ / "c.safetensors"}));
  EXPECT_FALSE(summary["counts"].contains("unknown_share"));
  const json text = report(run({"inspect", "--json", corpus, "--vocab-size", "3"}));
  EXPECT_DOUBLE_EQ(text["unknown_share"], 0.3);

  const json designed = report(run(init(flags + Words{"--json"}, "run")));
  EXPECT_EQ(designed["corpus"]["unknown_tokens"], 3);
  EXPECT_EQ(json::parse(content(folder_ / "run/manifest.json"))["manifest"]["unknown_tokens"], 3);
  // Counts know it.
  const Outcome again = run(init({"--counts", folder_ / "run/counts.safetensors"}, "again"));
  EXPECT_NE(again.err.find("warning: 30.00%"), std::string::npos) << again;
}

TEST_F(CorpusProgram, TextsAreCutIntoDocumentsAndTheManifestKnowsWhere) {
  const std::string corpus = folder_.file("t.txt", "a b a b<|endoftext|>b a b a1e5a b a");
  const Words flags{"--corpus", corpus, "--vocab-size", "9"};
  const auto pairs = [&](const Words& more) {
    return report(run(count(flags + more)))["lags"][0]["pairs"].get<int>();
  };
  EXPECT_EQ(pairs({}), 18);  // < | endoftext | > and 1 e 5, too
  EXPECT_EQ(pairs({"--doc-sep", "<|endoftext|>"}), 12);
  const json seen =
      report(run({"inspect", "--json", corpus, "--vocab-size", "9", "--doc-sep", "<|endoftext|>"}));
  EXPECT_EQ(seen["documents"], 2);
  EXPECT_EQ(run(init(flags + Words{"--doc-sep", "<|endoftext|>"}, "run")).code, 0);
  EXPECT_EQ(run(init(flags, "other")).code, 0);
  const json manifest = json::parse(content(folder_ / "run/manifest.json"));
  EXPECT_EQ(manifest["doc-sep"], "<|endoftext|>");
  EXPECT_NE(manifest["corpus-hash"], json::parse(content(folder_ / "other/manifest.json"))["corpus-hash"]);
  // What looks like a number is none.
  EXPECT_EQ(run(init(flags + Words{"--doc-sep", "1e5"}, "number")).code, 0);
  EXPECT_EQ(json::parse(content(folder_ / "number/manifest.json"))["doc-sep"], "1e5");
  for (const std::string name : {"run", "number"}) {
    const Outcome o = run(
        {"init", "--config", folder_ / name + "/manifest.json", "--output", folder_ / "repeated-" + name});
    EXPECT_EQ(o.code, 0) << o;
    EXPECT_EQ(content(folder_ / name + "/init.safetensors"),
              content(folder_ / "repeated-" + name + "/init.safetensors"));
  }
  const Outcome planned = run({"plan",
                               "--arch",
                               "gpt2",
                               "--layers",
                               "1",
                               "--d-model",
                               "8",
                               "--heads",
                               "1",
                               "--recipe",
                               "spread",
                               "--pr-target",
                               "2",
                               "--json",
                               "--corpus",
                               corpus,
                               "--vocab-size",
                               "9",
                               "--doc-sep",
                               "<|endoftext|>"});
  EXPECT_EQ(report(planned)["tokens"], 14);
  EXPECT_TRUE(refused(run(count(flags + Words{"--doc-sep", ""})), 2, {"--doc-sep"}));
  EXPECT_TRUE(refused(run(count(flags + Words{"--doc-sep", "\xff"})), 2, {"--doc-sep", "UTF-8"}));
}

TEST_F(CorpusProgram, AFolderIsACorpus) {
  fs::create_directories(folder_.path / "d");
  (void)folder_.file("d/b.txt", "b b");
  (void)folder_.file("d/a.txt", "a a a");
  (void)folder_.file("d/empty.txt", "");
  const Outcome o = run(count({"--corpus", folder_ / "d"}));
  EXPECT_EQ(report(o)["tokens"], 5);
  EXPECT_EQ(report(o)["lags"][0]["pairs"], 3);
  EXPECT_NE(o.err.find("a folder, 3 files"), std::string::npos) << o;
  EXPECT_NE(o.err.find("empty.txt: is empty and left out"), std::string::npos) << o;
  EXPECT_EQ(run(count({"--corpus", folder_ / "d", "--quiet"})).err, "");
}

// The second time the folder holds what the first has written.
TEST_F(CorpusProgram, AFolderMayHoldTheOutputToo) {
  fs::create_directories(folder_.path / "d");
  for (const char* name : {"d/a.txt", "d/b.txt", "d/c.txt"}) (void)folder_.file(name, sample_text(200));
  const Words corpus{"--corpus", folder_ / "d"};
  const std::uint64_t tokens = report(run(count(corpus)))["tokens"];
  for (int time = 0; time < 2; ++time) {
    const Outcome o =
        run({"count", "--json", "--vocab-size", "50", "--force", "--corpus", folder_ / "d", "--output",
             folder_ / "d/c.safetensors", "--vocab-output", folder_ / "d/vocab.json"});
    EXPECT_EQ(report(o)["tokens"], tokens);
    for (const std::string where : {"d/run", "d"}) {
      const Outcome made = run(init(corpus + Words{"--vocab-size", "50", "--json", "--force"}, where));
      EXPECT_EQ(report(made)["corpus"]["tokens"], tokens) << where;
    }
  }
  EXPECT_TRUE(refused(run({"count", "--vocab-size", "50", "--force", "--corpus", folder_ / "d", "--output",
                           folder_ / "d/a.txt"}),
                      2, {"d/a.txt", "is read by this run"}));
  // A run's manifest knows what was left out.
  EXPECT_EQ(run(init(corpus + Words{"--vocab-size", "50", "--exclude", "b.*", "c.txt"}, "less")).code, 0);
  EXPECT_EQ(json::parse(content(folder_ / "less/manifest.json"))["exclude"], json({"b.*", "c.txt"}));
  EXPECT_EQ(run({"init", "--config", folder_ / "less/manifest.json", "--output", folder_ / "again"}).code, 0);
  EXPECT_EQ(content(folder_ / "less/init.safetensors"), content(folder_ / "again/init.safetensors"));
}

TEST_F(CorpusProgram, TheModelsVocabularyStandsForOneThatIsNotGiven) {
  const std::string text = folder_.file("t.txt", sample_text(2000));
  const std::string config = folder_.file(
      "config.json",
      R"({"model_type":"llama","vocab_size":300,"num_hidden_layers":1,"num_attention_heads":1,"hidden_size":16,"intermediate_size":32})");
  const Words model{"--recipe", "unigram", "--lags", "2", "--model-config", config};
  const auto made = [&](const std::string& name, const Words& words) {
    const Outcome o = run(Words{"init", "--output", folder_ / name} + model + words);
    EXPECT_EQ(o.code, 0) << o;
    return o;
  };
  const Outcome told = made("default", {"--corpus", text});
  EXPECT_NE(told.err.find("note: --vocab-size is not given: 300, as the model has"), std::string::npos)
      << told;
  (void)made("given", {"--corpus", text, "--vocab-size", "300"});
  EXPECT_EQ(content(folder_ / "default/init.safetensors"), content(folder_ / "given/init.safetensors"));
  std::vector<std::uint16_t> ids;
  for (int k = 0; k < 2000; ++k) ids.push_back(static_cast<std::uint16_t>(k % 7 == 0 ? 299 : k * k % 50));
  const Outcome o = made("ids", {"--corpus", folder_.file("a.u16", bytes_of(ids))});
  EXPECT_NE(o.out.find("2000 tokens, 300 ids"), std::string::npos) << o;
  EXPECT_NE(o.out.find("1 layer, 1 head (1 key/value) of 16"), std::string::npos) << o;
  EXPECT_EQ(made("bytes", {"--corpus", text, "--tokenizer", "bytes"}).err.find("--vocab-size"),
            std::string::npos);
  EXPECT_EQ(run(Words{"plan", "--quiet", "--tokens", "9999"} + model).code, 0);
  ids.push_back(300);
  EXPECT_TRUE(refused(run(Words{"init", "--quiet", "--output", folder_ / "x", "--corpus",
                                folder_.file("b.u16", bytes_of(ids))} +
                          model),
                      3, {"b.u16", "300"}));
}

TEST_F(CorpusProgram, WhatIsReadAndWrittenIsCalledByItsName) {
  const Outcome o = run({"init", "--quiet", "--recipe", "random", "--arch", "gpt2", "--layers", "1",
                         "--d-model", "8", "--output", folder_ / "run/"});
  EXPECT_NE(o.out.find("wrote " + folder_ / "run/init.safetensors: "), std::string::npos) << o;
  Process process(Words{"count", "--vocab-size", "9", "--corpus", "-", "--output", folder_ / "c"}, true);
  process.feed("one");
  process.close_input();
  const Outcome few = process.wait();
  EXPECT_EQ(few.code, 3);
  EXPECT_NE(few.err.find("aloft: stdin: holds fewer than two tokens"), std::string::npos) << few;
}

TEST_F(CorpusProgram, WhatWasCountedIsNotReadAnew) {
  const Folder folder;
  const std::string counts = folder / "c.safetensors", text = folder.file("t.txt", sample_text(500));
  ASSERT_EQ(run({"count", "--quiet", "--corpus", text, "--vocab-size", "20", "--output", counts}).code, 0);
  const Words plan{"plan", "--counts",  counts, "--recipe", "unigram", "--arch",    "llama", "--layers",
                   "1",    "--d-model", "16",   "--heads",  "2",       "--context", "8"};
  for (const Words& flag :
       {Words{"--vocab-size", "300"}, {"--tokenizer", "bytes"}, {"--doc-sep", "x"}, {"--strategy", "dense"}})
    EXPECT_TRUE(refused(run(plan + flag), 2, {"--counts and " + flag[0]}));
  EXPECT_EQ(run(plan + Words{"--tokenizer", "words"}).code, 0) << "as manifests say it";
}

}  // namespace
}  // namespace aloft::cli_tests::corpus
