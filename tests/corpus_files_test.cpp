#include "host/corpus_files.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "host/corpus_selection.hpp"
#include "tests/corpus_helpers.hpp"

// Which files a corpus is: folders, empty files, files that change while they are read.

namespace aloft::corpus_tests::files {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<TokenId>;
constexpr TokenId kBreak = kDocumentBreak;

struct Notes final : ProgressSink {
  std::vector<std::string> lines;
  void update(std::string_view, double, double, std::uint64_t, std::string_view) override {}
  void finish(std::string_view, double, bool) override {}
  void note(const std::string& line) override { lines.push_back(line); }
};

CorpusSpec bytes_spec(std::vector<std::string> paths) {
  CorpusSpec spec;
  spec.paths = std::move(paths);
  spec.tokenizer = "bytes";
  return spec;
}

TEST(CorpusFiles, AFolderIsItsFilesInOrder) {
  const Folder folder;
  fs::create_directories(folder.path / "d/b/c");
  fs::create_directories(folder.path / "d/.git");
  (void)folder.file("d/z.txt", "Z");
  (void)folder.file("d/b/2.txt", "B");
  (void)folder.file("d/b/c/1.txt", "C");
  (void)folder.file("d/a.txt", "A");
  (void)folder.file("d/.hidden", "x");
  (void)folder.file("d/.git/config", "x");
  fs::create_directory_symlink(folder.path / "d", folder.path / "d/loop");
  fs::create_symlink(folder.path / "d/a.txt", folder.path / "d/link.txt");
  const std::string d = folder.path / "d";
  Notes notes;
  const auto corpus = open_corpus(bytes_spec({folder.file("first.txt", "F"), d}), notes);
  EXPECT_EQ(ids_of(*corpus), (Ids{'F', kBreak, 'A', kBreak, 'B', kBreak, 'C', kBreak, 'A', kBreak, 'Z'}));
  ASSERT_EQ(notes.lines.size(), 1u);
  EXPECT_NE(notes.lines[0].find(d + ": a folder, 5 files"), std::string::npos) << notes.lines[0];
  EXPECT_NE(notes.lines[0].find("3 are left out"), std::string::npos) << notes.lines[0];
}

TEST(CorpusFiles, IndexesBesideTokenFilesAreNoFilesOfTheCorpus) {
  const Folder folder;
  fs::create_directories(folder.path / "d");
  for (const char* name : {"a.ds", "a.ds.index", "a.ds.metadata", "a.ds.loss", "b.bin", "b.idx", "c.idx"})
    (void)folder.file("d/" + std::string(name), "x");
  const auto found = corpus_files(bytes_spec({(folder.path / "d").string()}));
  std::vector<std::string> names;
  for (const auto& file : found.files) names.push_back(fs::path(file.path).filename().string());
  EXPECT_EQ(names, (std::vector<std::string>{"a.ds", "b.bin", "c.idx"}));
}

TEST(CorpusFiles, FoldersThatGiveNoCorpus) {
  const Folder folder;
  fs::create_directories(folder.path / "empty");
  fs::create_directories(folder.path / "hidden");
  fs::create_directories(folder.path / "mixed");
  (void)folder.file("hidden/.x", "x");
  (void)folder.file("mixed/a.txt", "text");
  (void)folder.file("mixed/b.u16", "\1\0\2\0");
  const auto check = [&](const std::string& name, const std::string& reason) {
    auto spec = bytes_spec({folder.path / name});
    const std::string what = message_of<InputError>(spec);
    EXPECT_NE(what.find(folder.path / name), std::string::npos) << what;
    EXPECT_NE(what.find(reason), std::string::npos) << what;
  };
  check("empty", "without a file");
  check("hidden", "1 is left out: 1 hidden");
  check("mixed", "the files of a corpus need one format (--format sets it; --exclude '*.u16' leaves");
}

/// A folder of source code, as it is.
struct Code : Folder {
  std::string root = (path / "code").string();
  Code() {
    for (const char* below : {"", "src", "src/deep", "web", "run"})
      fs::create_directories(path / "code" / below);
    for (const char* name : {"src/a.c", "src/b.c", "src/deep/c.py", "web/d.js", "README"})
      (void)file("code/" + std::string(name), std::string(name) + ": int main(void) { return 0; }\n");
    (void)file("code/web/package.json", R"({"name": "x", "version": "1"})");
    (void)file("code/web/logo.png", std::string("\x89PNG\r\n\x1a\n\0\0", 10));
    (void)file("code/web/font.ttf", std::string("\0\1\0\0\0\x0b", 6) + std::string(20, '\0') + "glyf");
  }
  /// The files that are read, below `root`, and the notes.
  std::pair<std::vector<std::string>, std::vector<std::string>> chosen(CorpusSpec spec) const {
    Notes notes;
    std::vector<std::string> names;
    for (const auto& opened : open_files(spec, notes).files)
      names.push_back(fs::path(opened->name()).lexically_relative(root).string());
    return {names, notes.lines};
  }
};
using Names = std::vector<std::string>;

bool any_says(const Names& notes, const std::string& part) {
  return std::any_of(notes.begin(), notes.end(),
                     [&](const std::string& line) { return line.find(part) != std::string::npos; });
}

TEST(CorpusFiles, OfAFolderOfSourceCodeWhatIsNoTextIsLeftOutAndItsJsonIsText) {
  const Code code;
  const auto [names, notes] = code.chosen(bytes_spec({code.root}));
  EXPECT_EQ(names, (Names{"README", "src/a.c", "src/b.c", "src/deep/c.py", "web/d.js", "web/package.json"}));
  EXPECT_TRUE(any_says(notes, "code: a folder, 8 files in the order of their names"));
  EXPECT_TRUE(any_says(notes, "2 of 8 files are neither text nor ids and left out (" + code.root +
                                  "/web/font.ttf is no text (it has NUL bytes))"));
  EXPECT_TRUE(any_says(notes, "1 of 6 files is JSON or a table, "));
  EXPECT_TRUE(any_says(notes, "package.json is JSON); --exclude '*.json' leaves it out of the folder"));
}

TEST(CorpusFiles, OfAFolderWhatIsExcludedIsLeftOut) {
  const Code code;
  auto spec = bytes_spec({code.root});
  spec.exclude = {"*.json", "*.png", "*.ttf", "deep/", "web/d*", "*.tar"};
  const auto [names, notes] = code.chosen(spec);
  EXPECT_EQ(names, (Names{"README", "src/a.c", "src/b.c"}));
  EXPECT_TRUE(any_says(notes, "a folder, 3 files in the order of their names; 5 are left out: 5 excluded"));
  EXPECT_TRUE(any_says(notes, "--exclude '*.tar' matches nothing in a folder"));
  spec.exclude = {"*"};
  EXPECT_NE(message_of<InputError>(spec).find("is a folder without a file to read"), std::string::npos);
}

TEST(CorpusFiles, RecordsThatAreTheGreaterPartOfAFolderAreRefusedWithTheWayOut) {
  const Code code;
  const std::string line = "{\"text\": \"the cat sat\"}\n";
  (void)code.file("code/many.jsonl",
                  line + line + line + line + line + line + line + line + line + line + line);
  const std::string by_bytes = message_of<InputError>(bytes_spec({code.root}));
  EXPECT_EQ(by_bytes.find(code.root + "/many.jsonl: is JSON Lines; "), 0u) << by_bytes;
  EXPECT_NE(by_bytes.find("; --exclude '*.jsonl' leaves it out of the folder"), std::string::npos)
      << by_bytes;
  // One that is named is meant.
  const std::string named =
      message_of<InputError>(bytes_spec({code.root + "/src", code.root + "/web/package.json"}));
  EXPECT_NE(named.find("package.json: is JSON; "), std::string::npos) << named;
  EXPECT_EQ(named.find("--exclude"), std::string::npos) << named;
}

TEST(CorpusFiles, WhatCouldBeACorpusOnceConvertedIsNotLeftOut) {
  for (const auto& [name, content] : std::vector<std::pair<std::string, std::string>>{
           {"a.gz", std::string("\x1f\x8b\x08\0\0\0\0\0\0\3x", 11)}, {"b.doc", "caf\xE9 au lait"}}) {
    const Code code;
    (void)code.file("code/" + name, content);
    const std::string what = message_of<InputError>(bytes_spec({code.root}));
    EXPECT_EQ(what.find(code.root + "/" + name), 0u) << what;
    EXPECT_NE(what.find("--exclude '*." + fs::path(name).extension().string().substr(1) + "'"),
              std::string::npos)
        << what;
  }
}

TEST(CorpusFiles, WhatRunsWroteIntoAFolderIsNoCorpus) {
  const Code code;
  for (const char* name : {"run/manifest.json", "run/init.safetensors", "run/notes.txt", "c.txt"})
    (void)code.file("code/" + std::string(name), "x");
  (void)code.file("code/vocab.json",
                  R"({"tokenizer":"words","version":1,"lowercase":true,"tokens":["<unk>"]})");
  auto spec = bytes_spec({code.root});
  spec.exclude = {"web", "src"};
  spec.outputs = {code.root + "/c.txt", code.root + "/none"};
  EXPECT_EQ(code.chosen(spec).first, (Names{"README"}));
}

TEST(CorpusFiles, EmptyFilesAreLeftOutWithOneNote) {
  const Folder folder;
  std::vector<std::string> paths{folder.file("e0.txt", ""), folder.file("a.txt", "A")};
  for (int k = 1; k < 20; ++k) paths.push_back(folder.file("e" + std::to_string(k) + ".txt", ""));
  paths.push_back(folder.file("b.txt", "B"));
  Notes notes;
  EXPECT_EQ(ids_of(*open_corpus(bytes_spec(paths), notes)), (Ids{'A', kBreak, 'B'}));
  ASSERT_EQ(notes.lines.size(), 1u);
  EXPECT_NE(notes.lines[0].find("20 of 22 files are empty"), std::string::npos) << notes.lines[0];
  EXPECT_NE(notes.lines[0].find("e0.txt"), std::string::npos) << notes.lines[0];
  Notes one;
  (void)open_corpus(bytes_spec({paths[0], paths[1]}), one);
  ASSERT_EQ(one.lines.size(), 1u);
  EXPECT_NE(one.lines[0].find("e0.txt: is empty and left out"), std::string::npos) << one.lines[0];
  const std::string what = message_of<InputError>(bytes_spec({paths[0], paths[2], paths[3]}));
  EXPECT_NE(what.find("e0.txt: is empty, and so are the other 2 files"), std::string::npos) << what;
  {
    const Stdin nothing("");
    EXPECT_EQ(ids_of(*open(bytes_spec({paths[1], "-"}))), (Ids{'A'}));
  }
}

TEST(CorpusFiles, ATextRewrittenBetweenThePassesIsRefused) {
  const Folder folder;
  for (const std::size_t size : {9u, 200'000u, 3'000'000u}) {
    std::string text;
    while (text.size() < size) text += "a b c d\n ";
    const std::string path = folder.file("a.txt", text);
    CorpusSpec spec;
    spec.paths = {path};
    spec.vocab_size = 10;
    const auto corpus = open(spec);  // the vocabulary's pass
    EXPECT_EQ(ids_of(*corpus).size(), ids_of(*corpus).size());
    const auto written = fs::last_write_time(path);
    text[text.size() / 2] = text[text.size() / 2] == 'b' ? 'd' : 'b';
    (void)folder.file("a.txt", text);  // as many bytes
    fs::last_write_time(path, written);
    try {
      (void)ids_of(*corpus);
      ADD_FAILURE() << "a mixed vocabulary";
    } catch (const InputError& e) {
      EXPECT_NE(std::string(e.what()).find(path + ": has changed"), std::string::npos) << e.what();
    }
  }
}

TEST(CorpusFiles, IdsThatChangeBetweenPassesAreRefusedToo) {
  const Folder folder;
  CorpusSpec spec;
  spec.paths = {folder.file("a.u16", std::string("\1\0\2\0\3\0", 6))};
  spec.vocab_size = 10;
  const auto corpus = open(spec);
  EXPECT_EQ(ids_of(*corpus), (Ids{1, 2, 3}));
  (void)folder.file("a.u16", std::string("\1\0\2\0\4\0", 6));
  EXPECT_THROW((void)ids_of(*corpus), InputError);
}

}  // namespace
}  // namespace aloft::corpus_tests::files
