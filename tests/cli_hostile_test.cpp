#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "tests/malformed_cases.hpp"

// Files made to harm, or that merely could: nested without end, sizes that only the header has, names and
// contents that a terminal would obey. One line, a documented exit code, memory for what is there.

namespace aloft::cli_tests {
namespace {

using nlohmann::json;

const std::string kEscape = "\x1b[31m", kCsi = "\xc2\x9b", kOverride = "\xe2\x80\xae";

/// Nothing in it but line ends moves a cursor or turns text round.
testing::AssertionResult harmless(const std::string& text) {
  for (const char c : text)
    if (c != '\n' && (static_cast<unsigned char>(c) < 0x20 || c == 0x7f))
      return testing::AssertionFailure() << "a control character in: " << text;
  if (text.find(kCsi) != std::string::npos || text.find(kOverride) != std::string::npos)
    return testing::AssertionFailure() << "a C1 or bidirectional control in: " << text;
  return testing::AssertionSuccess();
}

std::string nested(std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); }

Words design(const Folder& folder, const Words& flags) {
  return Words{"init", "--quiet"} + kSmallModel + flags + Words{"--output", folder / "run"};
}

TEST(HostileFiles, NestedJsonIsRefusedByEveryReader) {
  const Folder folder;
  const std::string text = folder.file("t.txt", kSoundText), deep = nested(75'000);
  const std::string bare = folder.file("deep.json", deep),
                    key = folder.file("key.json", "{\"tokenizer\":" + deep + "}"),
                    tensors = folder.file("deep.safetensors", safetensors("{\"t\":" + deep + "}", "")),
                    layers = folder.file("layers.yaml", "layer-lags: " + deep + "\n");
  const Words sizes{"--layers", "1", "--d-model", "8", "--heads", "1", "--output", folder / "run"};
  for (const std::string& file : {bare, key}) {
    EXPECT_TRUE(refused(run({"inspect", file}), 3, {file, "nested deeper"}));
    EXPECT_TRUE(refused(run(design(folder, {"--corpus", text, "--vocabulary", file})), 3, {file, "nested"}));
    EXPECT_TRUE(refused(run(Words{"init", "--corpus", text, "--arch", file} + sizes), 3, {file, "nested"}));
    EXPECT_TRUE(
        refused(run(Words{"init", "--corpus", text, "--model-config", file} + sizes), 3, {file, "nested"}));
    EXPECT_TRUE(refused(run({"init", "--config", file}), 3, {file}));
  }
  EXPECT_TRUE(refused(run({"inspect", tensors}), 3, {tensors, "nested deeper"}));
  EXPECT_TRUE(refused(run({"init", "--config", layers}), 3, {layers}));
  fs::create_directory(folder / "run");  // a state file that cannot be read is none
  folder.file("run/.aloft-state.json", deep);
  EXPECT_EQ(run(design(folder, {"--corpus", text, "--vocab-size", "8"})).code, 0);
}

TEST(HostileFiles, ConfigsAreBounded) {
  const Folder folder;
  std::string list = "corpus: [";
  for (int k = 0; k < 500'000; ++k) list += "a,";
  std::string keys;
  for (int k = 0; k < 5000; ++k) keys += fmt::format("k{}: 1\n", k);
  const std::vector<std::pair<std::string, std::string>> configs{
      {"values", list + "a]\n"},
      {"keys", keys},
      {"alias", "corpus: &a [x, x]\nlayer-lags: *a\n"},
      {"documents", "seed: 1\n---\nseed: 2\n"},
      {"expected at most", "corpus: \"" + std::string(std::size_t{5} << 20, 'x') + "\"\n"}};
  for (const auto& [reason, yaml] : configs) {
    const std::string file = folder.file("c.yaml", yaml);
    EXPECT_TRUE(refused(Process({"init", "--config", file}).wait(30), 3, {file, reason}));
  }
}

TEST(HostileFiles, WhatIsAnnouncedTakesNoMemory) {
  const Folder folder;
  const std::string counts = folder.file("c.safetensors", sound_counts().file());
  const auto peak = [] {
    rusage usage{};
    ::getrusage(RUSAGE_CHILDREN, &usage);
    return usage.ru_maxrss;  // KiB, of the largest so far
  };
  const long allowed = std::max(peak(), 900'000L);  // (the sanitizers take some of it)
  const Outcome ids = run({"inspect", folder.file("x.u32", le<std::uint32_t>({1, 2, 2147483646, 3}))});
  EXPECT_EQ(ids.code, 0) << ids;
  EXPECT_NE(ids.out.find("ids_seen: 4\nlargest_id: 2147483646\n"), std::string::npos) << ids;

  const std::string pipe = folder / "head.npy";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const std::string header = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (32768, 65536), }", "");
  for (const bool inspect : {true, false}) {
    Process process(inspect ? Words{"inspect", pipe}
                            : design(folder, {"--counts", counts, "--embedding", pipe}));
    { std::ofstream(pipe, std::ios::binary) << header; }
    const Outcome o = process.wait();
    EXPECT_TRUE(inspect ? o.code == 0 : refused(o, 3, {pipe, "is empty or a pipe"})) << o;
  }
  EXPECT_LE(peak(), allowed);
}

TEST(HostileFiles, InspectIsLinearInTheKeys) {
  const Folder folder;
  std::string keys, metadata;
  for (int k = 0; k < 300'000; ++k) {
    keys += fmt::format("\"k{}\":1,", k);
    metadata += fmt::format("{}\"k{}\":\"v\"", k > 0 ? "," : "", k);
  }
  for (const std::string& file :
       {folder.file("a.json", "{" + keys + "\"model_type\":\"llama\"}"),
        folder.file("b.json", "{" + keys + "\"manifest\":{}}"),
        folder.file("c.safetensors", safetensors("{\"__metadata__\":{" + metadata + "}}", ""))}) {
    const Outcome o = Process({"inspect", file, "--json"}).wait(40);  // it took minutes
    EXPECT_TRUE(!o.hung && (o.code == 0 || refused(o, 3, {"4096 keys"}))) << file << o.err;
  }
}

TEST(HostileText, NeverReachesTheTerminalRaw) {
  const Folder folder;
  const std::string hostile = "x" + kEscape + kCsi + kOverride + "\n";
  const std::string quoted = "x\\u001b[31m" + kCsi + kOverride + "\\n";
  const std::string text = folder.file("t.txt", kSoundText);
  const std::string vocabulary = folder.file(
      "v.json", R"({"tokenizer":"words","version":1,"lowercase":true,"tokens":["<unk>",")" + quoted + "\"]}");
  const std::string tensors = folder.file(
      "a.safetensors", safetensors("{\"__metadata__\":{\"" + quoted + "\":\"" + quoted + "\"},\"" + quoted +
                                       R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                                   "\1\1\1\1"));
  const std::string json_key = folder.file("k.json", "{\"" + quoted + "\":1,\"" + quoted + "\":2}");
  const std::string model_type =
      folder.file("m.json", R"({"model_type":"llama","rope_scaling":{"rope_type":")" + quoted + "\"}}");
  const std::string yaml_key = folder.file("k.yaml", "\"x\\e[31m\\u009b\\u202e\\n\": 1\n");
  const std::string yaml_value = folder.file("v.yaml", "recipe: \"x\\e[31m\\u009b\\u202e\\n\"\n");
  const std::string name = folder.file("n" + hostile + ".txt", kSoundText);
  const std::vector<Words> commands{
      {"inspect", vocabulary},
      {"inspect", tensors},
      {"inspect", tensors, "--json"},
      {"inspect", vocabulary, "--json"},
      {"inspect", json_key},
      {"inspect", model_type},
      {"inspect", name},
      {"inspect", name + kEscape},
      {hostile},
      {"init", "--recipe", hostile},
      {"init", "--config", yaml_key},
      {"init", "--config", yaml_value},
      {"count", "--corpus", name, "--vocab-size", "8", "--output", folder / ("c" + hostile)},
      design(folder, {"--corpus", name, "--vocab-size", "8"})};
  for (const Words& command : commands) {
    const Outcome o = run(command);
    EXPECT_GE(o.code, 0) << o;
    EXPECT_FALSE(o.out.empty() && o.err.empty());
    EXPECT_TRUE(harmless(o.out + o.err)) << fmt::format("{}", fmt::join(command, " "));
    if (o.code != 0) {
      EXPECT_TRUE(refused(o, o.code));
    }
    if (command.back() == "--json") {
      EXPECT_FALSE(json::parse(o.out, nullptr, false).is_discarded()) << o;
    }
  }
}

TEST(HostileText, NamesThatAreNotUtf8) {
  const Folder folder;
  const std::string text = folder.file("t\xff.txt", kSoundText);
  const Outcome counted = run({"count", "--json", "--quiet", "--corpus", text, "--vocab-size", "8",
                               "--output", folder / "c\xff.safetensors"});
  EXPECT_EQ(counted.code, 0) << counted;
  EXPECT_TRUE(json::parse(counted.out, nullptr, false).is_object()) << counted;
  EXPECT_TRUE(refused(run(design(folder, {"--corpus", text, "--vocab-size", "8"})), 2,
                      {"--corpus", "\\xff.txt", "rename"}));
  EXPECT_FALSE(fs::exists(folder / "run"));
  EXPECT_EQ(run({"inspect", text}).code, 0);
}

TEST(HostilePlaces, WithoutATempFolderAPipeIsRefused) {
  const Folder folder;
  const char* const other = std::getenv("ALOFT_PROGRAM");
  const std::string program = program_path(), before = other != nullptr ? other : "";
  ::setenv("ALOFT_PROGRAM", "/usr/bin/env", 1);
  const Outcome o = run_with_stdin({"TMPDIR=/nonexistent", program, "count", "--quiet", "--corpus", "-",
                                    "--vocab-size", "8", "--output", folder / "c.safetensors"},
                                   kSoundText);
  other != nullptr ? ::setenv("ALOFT_PROGRAM", before.c_str(), 1) : ::unsetenv("ALOFT_PROGRAM");
  EXPECT_TRUE(refused(o, 2, {"stdin", "TMPDIR"}));
}

TEST(InspectFiles, PipesFoldersAndDefaults) {
  const Folder folder;
  const std::string text = folder.file("t.txt", kSoundText), pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  Process reader({"inspect", pipe});
  { std::ofstream(pipe) << kSoundText; }
  const Outcome piped = reader.wait();
  EXPECT_EQ(run({"inspect", "--corpus", text}).out, run({"inspect", text}).out);
  EXPECT_EQ(piped.code, 0) << piped;
  EXPECT_NE(piped.out.find("tokens: 17"), std::string::npos) << piped;

  const Outcome bytes = run({"inspect", text, "--tokenizer", "bytes"});
  EXPECT_EQ(bytes.code, 0) << bytes;
  EXPECT_NE(bytes.out.find(fmt::format("tokens: {}\n", kSoundText.size())), std::string::npos) << bytes;
  const Outcome ids = run({"inspect", folder.file("nanogpt.bin", le<std::uint16_t>({1, 2, 3, 700}))});
  EXPECT_NE(ids.out.find("tokens: 4\n"), std::string::npos) << ids;  // u16, as a corpus has it

  const std::string counts = folder / "counts",
                    vocabulary = folder / "words";  // this program's own, by any name
  ASSERT_EQ(
      run({"count", "--corpus", text, "--vocab-size", "8", "--output", counts, "--vocab-output", vocabulary})
          .code,
      0);
  EXPECT_NE(run({"inspect", counts}).out.find("kind: aloft counts"), std::string::npos)
      << run({"inspect", counts});
  EXPECT_NE(run({"inspect", vocabulary}).out.find("kind: vocabulary"), std::string::npos)
      << run({"inspect", vocabulary});

  fs::create_directories(folder.path / "model");
  (void)folder.file("model/config.json", R"({"model_type":"qwen3","hidden_size":8})");
  fs::copy_file(counts, folder.path / "model/model.safetensors");
  const Outcome checkpoint = run({"inspect", folder / "model", "--json"});
  ASSERT_EQ(checkpoint.code, 0) << checkpoint;
  const json model = json::parse(checkpoint.out);
  EXPECT_EQ(model["kind"], "checkpoint of a model");
  EXPECT_EQ(model["config"]["d_model"], 8);
  EXPECT_NE(model["config"]["refused_by_init"].dump().find("QK-norm"), std::string::npos) << checkpoint;
  EXPECT_EQ(model["files"][0]["file"], "model.safetensors");
  EXPECT_GT(model["files"][0]["tensors"], 3);

  ASSERT_EQ(run(design(folder, {"--corpus", text, "--vocab-size", "8"})).code, 0);
  const Outcome whole = run({"inspect", folder / "run", "--json"});
  ASSERT_EQ(whole.code, 0) << whole;
  const json summary = json::parse(whole.out);
  EXPECT_EQ(summary["kind"], "finished run");
  EXPECT_EQ(summary["settings"]["recipe"], "spread");
  EXPECT_GE(summary["files"].size(), 3u);
  fs::remove(folder / "run/manifest.json");
  EXPECT_NE(run({"inspect", folder / "run"}).out.find("kind: unfinished run"), std::string::npos);
}

TEST(HostileCounts, SumsThatWrapAreRefused) {
  const Folder folder;
  constexpr std::int64_t kHalf = std::numeric_limits<std::int64_t>::min();  // as u64: 2^63
  Tensors unigram = sound_counts(), pairs = sound_counts();
  unigram["unigram"].data = le<std::uint64_t>({2 + kHalf, 3 + kHalf, 2});  // 7 modulo 2^64
  pairs["lag1.counts"].data = le<std::uint64_t>({2 + kHalf, 2, 1 + kHalf, 1});
  for (const Tensors& counts : {unigram, pairs}) {
    const std::string file = folder.file("c.safetensors", counts.file());
    EXPECT_TRUE(refused(run({"inspect", file}), 3, {file, "add"}));
    EXPECT_TRUE(refused(run(design(folder, {"--counts", file})), 3, {file, "add"}));
  }
}

TEST(HostileSizes, TheLargestVocabularyIsPlannedAsWhatItIs) {
  const Outcome o =
      run(Words{"plan", "--json", "--tokens", "1000", "--vocab-size", "2147483648", "--strategy", "dense"} +
          Words{"--arch", "gpt2", "--layers", "1", "--d-model", "8", "--heads", "1", "--lags", "64",
                "--recipe", "spread", "--pr-target", "2"});
  EXPECT_EQ(o.code, 4) << o;
  EXPECT_GE(json::parse(o.out)["memory_bytes"].get<std::uint64_t>(), std::uint64_t{1} << 62) << o;
  const Outcome mobius =
      run(Words{"plan", "--json", "--tokens", "1000", "--vocab-size", "2147483648", "--embedding", "mobius"} +
          kSmallModel);
  EXPECT_EQ(mobius.code, 4) << mobius;
  EXPECT_GE(json::parse(mobius.out)["memory_bytes"].get<std::uint64_t>(), std::uint64_t{1} << 61) << mobius;
}

}  // namespace
}  // namespace aloft::cli_tests
