#include <sys/resource.h>
#include <sys/stat.h>

#include "tests/cli_helpers.hpp"

// What is there already: what a run refuses to replace, and what --force may take away.

namespace aloft::cli_tests {
namespace {

class Replacing : public testing::Test {
 protected:
  void SetUp() override { corpus_ = folder_.file("corpus.txt", sample_text(4000)); }
  [[nodiscard]] Words from_corpus() const { return {"--corpus", corpus_, "--vocab-size", "200"}; }
  [[nodiscard]] Words init(const std::string& output) const {
    return {"init",           "--quiet",  "--recipe", "spread",    "--arch", "gpt2",    "--output",
            folder_ / output, "--layers", "2",        "--d-model", "32",     "--heads", "2"};
  }
  static std::map<std::string, std::string> without_lock(std::map<std::string, std::string> files) {
    files.erase(".aloft-lock");
    return files;
  }
  Folder folder_;
  std::string corpus_;
};

/// As `ulimit -f` sets it, for the program alone.
Outcome run_with_largest_file(const Words& arguments, rlim_t bytes) {
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit now{bytes, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &now);
  Process process(arguments);
  ::setrlimit(RLIMIT_FSIZE, &before);
  return process.wait();
}

TEST_F(Replacing, ForceTakesNothingAwayBeforeTheNewRunCanBegin) {
  ASSERT_EQ(run(init("run") + from_corpus()).code, 0);
  const Words files = folder_.names();
  const auto again = [&](const Words& words) { return run(init("run") + Words{"--force"} + words); };
  const Words size{"--vocab-size", "200"};
  EXPECT_TRUE(refused(again(Words{"--corpus", folder_ / "none.txt"} + size), 3, {"none.txt"}));
  EXPECT_TRUE(refused(again(from_corpus() + Words{"--memory", "1K"}), 4));
  EXPECT_TRUE(refused(again({"--counts", folder_ / "run/counts.safetensors"}), 2, {"--force replaces"}));
  EXPECT_TRUE(refused(again(Words{"--corpus", corpus_, "--vocabulary", folder_ / "run/vocab.json"}), 2,
                      {"vocab.json", "--force replaces"}));
  EXPECT_EQ(folder_.names(), files);
  EXPECT_EQ(again(from_corpus()).code, 0);
}

// Whatever ends the new run, and however late.
TEST_F(Replacing, TheFormerRunStaysWholeUntilTheNewOneIs) {
  ASSERT_EQ(run(init("run") + from_corpus()).code, 0);
  folder_.file("run/notes.txt", "mine");
  const auto former = [&] {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(folder_ / "run"))
      if (entry.is_regular_file()) files[entry.path().filename()] = content(entry.path());
    return files;
  };
  const auto before = former();
  const Words other = init("run") + from_corpus() + Words{"--force", "--seed", "7"};
  EXPECT_TRUE(
      refused(run_with_largest_file(other, 40'000), 4, {"File too large"}));  // the counts, or what follows
  EXPECT_EQ(former() == before, true);                                        // (not printed: it is long)
  Process process(other);
  ASSERT_TRUE(process.wait_until([&] { return fs::exists(folder_ / "run/.aloft-new/counts.safetensors"); }));
  process.send(SIGKILL);
  ASSERT_EQ(process.wait().signal, SIGKILL);
  EXPECT_EQ(without_lock(former()) == before, true);
  EXPECT_TRUE(refused(run(init("run") + from_corpus() + Words{"--seed", "7"}), 2, {"finished run"}));

  ASSERT_EQ(run(other).code, 0) << "the same command resumes it";
  ASSERT_EQ(run(init("fresh") + from_corpus() + Words{"--seed", "7"}).code, 0);
  EXPECT_EQ(content(folder_ / "run/init.safetensors") == content(folder_ / "fresh/init.safetensors"), true);
  Words names = folder_.names();
  std::erase_if(names, [](const std::string& name) { return !name.starts_with("run/"); });
  EXPECT_EQ(names.size(), before.size()) << "and leaves nothing else";
  EXPECT_EQ(content(folder_ / "run/notes.txt"), "mine");
}

TEST_F(Replacing, ARunRepeatedIntoItsOwnFolderReadsItsManifestThere) {
  ASSERT_EQ(run(init("run") + from_corpus()).code, 0);
  const std::string before = content(folder_ / "run/init.safetensors");
  const Words again{"init",     "--quiet",       "--config", folder_ / "run/manifest.json",
                    "--output", folder_ / "run", "--force"};
  ASSERT_EQ(run(again).code, 0);
  EXPECT_EQ(content(folder_ / "run/init.safetensors") == before, true);
}

// By any spelling and any link.
TEST_F(Replacing, ACountReplacesNoneOfItsInputs) {
  const std::string text = content(corpus_), vocabulary = folder_ / "vocab.json";
  const Words count{"count", "--quiet", "--force", "--vocab-size", "200", "--output"};
  ASSERT_EQ(run(count + Words{folder_ / "first", "--corpus", corpus_, "--vocab-output", vocabulary}).code, 0);
  fs::create_symlink("corpus.txt", folder_.path / "link");
  fs::create_hard_link(corpus_, folder_.path / "twin");
  fs::create_directory_symlink(".", folder_.path / "here");
  for (const char* output : {"corpus.txt", "./corpus.txt", "link", "twin", "here/corpus.txt"})
    EXPECT_TRUE(refused(run(count + Words{folder_ / output, "--corpus", corpus_}), 2,
                        {output, "is read by this run"}));
  Process redirected(count + Words{corpus_, "--corpus", "-"}, false, corpus_);
  EXPECT_TRUE(refused(redirected.wait(), 2, {"is read by this run"}));
  EXPECT_TRUE(refused(run(Words{"count", "--quiet", "--force", "--output", vocabulary, "--corpus", corpus_,
                                "--vocabulary", vocabulary}),
                      2, {"is read by this run"}));
  for (const char* output : {"new", "./new", "here/new"})
    EXPECT_TRUE(
        refused(run(count + Words{folder_ / output, "--corpus", corpus_, "--vocab-output", folder_ / "new"}),
                2, {"are the same file"}));
  EXPECT_EQ(content(corpus_), text);
}

// Killed between the two: the vocabulary lies there without its counts.
TEST_F(Replacing, ACountGoesOnFromAVocabularyWithoutItsCounts) {
  const Words count{"count",          "--quiet",          "--corpus", corpus_,
                    "--vocab-output", folder_ / "v.json", "--output", folder_ / "c"};
  ASSERT_EQ(run(count + Words{"--vocab-size", "200"}).code, 0);
  const std::string counts = content(folder_ / "c"), vocabulary = content(folder_ / "v.json");
  EXPECT_TRUE(refused(run(count + Words{"--vocab-size", "200"}), 2, {"already exists"}));
  fs::remove(folder_ / "c");
  folder_.file(".c.aloft-partial-0123456789abcdef", "half");
  folder_.file(".v.json.aloft-partial-4711", "half");
  EXPECT_TRUE(refused(run(count + Words{"--vocab-size", "90"}), 2, {"v.json", "already exists"}))
      << "another's";
  EXPECT_EQ(content(folder_ / "v.json"), vocabulary);
  ASSERT_EQ(run(count + Words{"--vocab-size", "200"}).code, 0);
  EXPECT_EQ(content(folder_ / "c") == counts, true);
  EXPECT_EQ(folder_.names(), (Words{"c", "corpus.txt", "v.json"}));
  fs::remove(folder_ / "c");
  folder_.file("v.json", "a user's");
  EXPECT_TRUE(refused(run(count + Words{"--vocab-size", "200"}), 2, {"v.json", "already exists"}));
}

TEST_F(Replacing, AFileThatGrowsTooLargeIsAnErrorAndLeavesNothing) {
  const Words before = folder_.names();
  EXPECT_TRUE(refused(
      run_with_largest_file(Words{"count", "--quiet", "--output", folder_ / "c"} + from_corpus(), 500), 4,
      {"File too large", "ulimit"}));
  EXPECT_TRUE(refused(run_with_largest_file(init("run") + from_corpus(), 500), 4, {"File too large"}));
  EXPECT_EQ(folder_.names(), before);
}

TEST_F(Replacing, WhatIsNoRegularFileIsNotReplaced) {
  const std::string pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_TRUE(refused(run(Words{"count", "--quiet", "--force", "--output", pipe} + from_corpus()), 3,
                      {pipe, "not a regular file"}));
  EXPECT_TRUE(fs::is_fifo(pipe));
}

TEST_F(Replacing, ACountIsNotLostToAFolderThatIsNotThere) {
  EXPECT_TRUE(
      refused(run(Words{"count", "--quiet", "--output", folder_ / "none/c.safetensors"} + from_corpus()), 3,
              {"there is no folder"}));
}

TEST_F(Replacing, AnExistingOutputIsRefusedUnlessForced) {
  ASSERT_EQ(run(init("run") + from_corpus()).code, 0);
  folder_.file("run/notes.txt", "mine");
  const std::string before = content(folder_ / "run/init.safetensors"),
                    manifest = content(folder_ / "run/manifest.json");
  const Words other = init("run") + from_corpus() + Words{"--seed", "5"};
  EXPECT_TRUE(refused(run(init("run") + from_corpus()), 2, {folder_ / "run", "--force"}));
  EXPECT_TRUE(refused(run(other), 2, {folder_ / "run", "--force"}));
  EXPECT_EQ(content(folder_ / "run/init.safetensors") == before, true);
  EXPECT_EQ(content(folder_ / "run/manifest.json"), manifest);

  ASSERT_EQ(run(other + Words{"--force"}).code, 0);
  EXPECT_EQ(content(folder_ / "run/init.safetensors") == before, false);
  EXPECT_EQ(content(folder_ / "run/notes.txt"), "mine");

  fs::create_directory(folder_ / "theirs");
  folder_.file("theirs/init.safetensors", "not ours");
  EXPECT_TRUE(refused(run(init("theirs") + from_corpus()), 2, {folder_ / "theirs/init.safetensors"}));
  EXPECT_EQ(content(folder_ / "theirs/init.safetensors"), "not ours");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path / "theirs"), {}), 1);
  EXPECT_TRUE(refused(run(init("corpus.txt") + from_corpus()), 2, {corpus_}));
}

}  // namespace
}  // namespace aloft::cli_tests
