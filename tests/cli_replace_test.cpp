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
  Folder folder_;
  std::string corpus_;
};

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
