#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "host/atomic_file.hpp"
#include "host/error.hpp"
#include "pipeline/recipes/recipe.hpp"
#include "pipeline/run/config.hpp"
#include "pipeline/run/folder.hpp"

namespace aloft {
namespace {

namespace fs = std::filesystem;

class RunFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("aloft_run_" + std::to_string(getpid()));
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  using Names = std::vector<std::string>;
  [[nodiscard]] std::string path() const { return folder_.string(); }
  [[nodiscard]] std::string content(const std::string& name) const {
    return read_file((folder_ / name).string());
  }
  [[nodiscard]] Names entries() const {
    Names names;
    for (const auto& entry : fs::directory_iterator(folder_))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }
  /// Of a run that wrote init.safetensors.
  static std::string manifest(const std::string& text) {
    return R"({"text": ")" + text + R"(", "manifest": {"files": {"init.safetensors": {}}}})";
  }
  void finish(const std::string& settings, const std::string& text) const {
    RunFolder run(path(), settings, false);
    run.begin();
    write_file(run.file("init.safetensors"), text);
    run.complete(manifest(text));
  }
  fs::path folder_;
};

TEST_F(RunFolderTest, AFailureBeforeAnyStageLeavesNothing) {
  { RunFolder run((folder_ / "deep/er").string(), "a", false); }
  EXPECT_FALSE(fs::exists(folder_));
  {
    RunFolder run(path(), "a", false);
    run.begin();
  }
  EXPECT_FALSE(fs::exists(folder_));
  fs::create_directories(folder_);
  write_file((folder_ / "mine.txt").string(), "kept");
  {
    RunFolder run(path(), "a", false);
    run.begin();
  }
  EXPECT_EQ(entries(), Names{"mine.txt"});
}

TEST_F(RunFolderTest, ResumesTheSameSettingsOnly) {
  {
    RunFolder run(path(), "a", false);
    EXPECT_FALSE(run.resuming());
    run.begin();
    run.remember({{"counts.key", "k"}});
  }
  for (const bool force : {false, true}) {
    RunFolder run(path(), "a", force);
    EXPECT_TRUE(run.resuming()) << "force " << force;
    EXPECT_EQ(run.recall("counts.key"), "k");
  }
  EXPECT_THROW(RunFolder(path(), "b", false), UsageError);
  RunFolder forced(path(), "b", true);
  forced.begin();
  EXPECT_FALSE(forced.resuming());
  EXPECT_FALSE(forced.recall("counts.key"));
}

TEST_F(RunFolderTest, AFinishedRunIsRefusedAndForceReplacesOnlyWhatARunWrites) {
  finish("a", "old");
  write_file((folder_ / "notes.txt").string(), "mine");
  write_file((folder_ / "offset.json").string(), "of a run before that");
  EXPECT_THROW(RunFolder(path(), "a", false), UsageError);
  { RunFolder failed(path(), "a", true); }
  EXPECT_EQ(content("init.safetensors"), "old")
      << "a run that did not begin touched the one it was to replace";
  RunFolder run(path(), "a", true);
  EXPECT_THROW(run.expect_kept({(folder_ / "init.safetensors").string()}), UsageError);
  EXPECT_NO_THROW(run.expect_kept({(folder_ / "notes.txt").string()}));
  run.begin();
  write_file(run.file("init.safetensors"), "new");
  EXPECT_EQ(content("init.safetensors"), "old");
  EXPECT_TRUE(fs::exists(folder_ / "manifest.json"));
  run.complete(manifest("new"));
  EXPECT_EQ(content("init.safetensors"), "new");
  EXPECT_EQ(content("manifest.json"), manifest("new"));
  EXPECT_EQ(entries(), (Names{".aloft-lock", "init.safetensors", "manifest.json", "notes.txt"}));
}

TEST_F(RunFolderTest, AReplacementThatWasInterruptedIsResumedBesideTheIntactRun) {
  finish("a", "old");
  {
    RunFolder run(path(), "b", true);
    run.begin();
    write_file(run.file("counts.safetensors"), "half of b");
  }
  EXPECT_EQ(content("init.safetensors"), "old");
  { EXPECT_THROW(RunFolder(path(), "b", false), UsageError) << "the finished one needs --force"; }
  {
    RunFolder run(path(), "b", true);
    EXPECT_TRUE(run.resuming());
    EXPECT_EQ(read_file(run.file("counts.safetensors")), "half of b");
  }
  RunFolder other(path(), "c", true);
  EXPECT_FALSE(other.resuming());
  other.begin();
  EXPECT_FALSE(fs::exists(other.file("counts.safetensors")));
  EXPECT_EQ(content("init.safetensors"), "old");
}

// Whatever has been moved when a process is killed, the next one moves the rest.
TEST_F(RunFolderTest, AReplacementKilledWhileFilesMoveIsFinishedByTheNext) {
  const fs::path next = folder_ / ".aloft-new";
  for (int moved = 0; moved < 4; ++moved) {
    SCOPED_TRACE(moved);
    finish("a", "old");
    write_file((folder_ / "offset.json").string(), "old");
    fs::create_directories(next);
    write_file((next / "init.safetensors").string(), "new");
    write_file((next / "manifest.json").string(), manifest("new"));
    write_file((next / ".aloft-state.json").string(), R"({"settings": "b", "counts.key": "k"})");
    if (moved > 0) fs::remove(folder_ / "manifest.json");
    if (moved > 1) fs::rename(next / "init.safetensors", folder_ / "init.safetensors");
    if (moved > 2) fs::rename(next / "manifest.json", folder_ / "manifest.json");
    if (moved > 2) fs::remove(next / ".aloft-state.json");
    if (moved > 2) fs::remove(folder_ / "offset.json");
    EXPECT_THROW(RunFolder(path(), "b", false), UsageError) << "it is finished";
    EXPECT_EQ(entries(), (Names{"init.safetensors", "manifest.json"}));
    EXPECT_EQ(content("init.safetensors"), "new");
    EXPECT_EQ(content("manifest.json"), manifest("new"));
    fs::remove_all(folder_);
  }
}

TEST_F(RunFolderTest, WhatAKilledProcessLeftIsSweptAndNothingElse) {
  finish("a", "old");
  const Names mine{".init.safetensors.aloft-partial-copy", ".notes.aloft-partial-0123456789abcdef",
                   "init.safetensors.aloft-partial-1"};
  for (const std::string& name : mine) write_file((folder_ / name).string(), "mine");
  fs::create_symlink("init.safetensors", folder_ / ".init.safetensors.aloft-partial-7");
  write_file((folder_ / ".init.safetensors.aloft-partial-1").string(), "half");
  write_file((folder_ / ".manifest.json.aloft-partial-0123456789abcdef").string(), "half");
  write_file((folder_ / ".aloft-state.json").string(), R"({"settings": "a"})");  // killed before it went
  AtomicFile living((folder_ / "counts.safetensors").string());
  { EXPECT_THROW(RunFolder(path(), "b", false), UsageError); }
  Names wanted = mine;
  wanted.insert(wanted.end(), {".init.safetensors.aloft-partial-7", "init.safetensors", "manifest.json"});
  for (const std::string& name : entries())
    if (name.starts_with(".counts.safetensors.aloft-partial-")) wanted.push_back(name);
  std::sort(wanted.begin(), wanted.end());
  EXPECT_EQ(wanted.size(), 7u);
  EXPECT_EQ(entries(), wanted);
  living.write("still its own");
  living.commit();
  EXPECT_EQ(content("counts.safetensors"), "still its own");
}

TEST_F(RunFolderTest, OneProcessAtATime) {
  RunFolder run(path(), "a", false);
  EXPECT_THROW(RunFolder(path(), "a", false), UsageError);
  EXPECT_TRUE(fs::exists(folder_ / ".aloft-lock"));
}

TEST_F(RunFolderTest, ALockThatIsALinkIsNotFollowed) {
  fs::create_directories(folder_);
  fs::create_symlink("elsewhere", folder_ / ".aloft-lock");
  EXPECT_THROW(RunFolder(path(), "a", false), InputError);
  EXPECT_EQ(entries(), Names{".aloft-lock"});
}

Architecture plain() {
  Architecture a;
  a.position = Architecture::Position::rope;
  a.grouped_query = true;
  a.free_head_dim = true;
  return a;
}

TEST(ModelShapeTest, FlagsWinOverConfigOverDefaults) {
  ModelFlags flags;
  ModelConfig config;
  EXPECT_THROW((void)resolve_shape(flags, config, plain(), 100), UsageError);  // nothing says how many layers
  config.layers = 4;
  config.d_model = 256;
  config.heads = 8;
  config.kv_heads = 2;
  config.vocab = 50304;
  ModelShape s = resolve_shape(flags, config, plain(), 50257);
  EXPECT_EQ(s.layers, 4);
  EXPECT_EQ(s.kv_heads, 2);
  EXPECT_EQ(s.head_dim, 32);
  EXPECT_EQ(s.vocab, 50304);
  EXPECT_EQ(s.rotary_dim, 32);
  flags.heads = 4;
  s = resolve_shape(flags, config, plain(), 50257);
  EXPECT_EQ(s.kv_heads, 4) << "the config's grouping is not this user's";
  EXPECT_EQ(s.head_dim, 64);
  flags.vocab = 50000;
  EXPECT_THROW((void)resolve_shape(flags, config, plain(), 50257), UsageError);
  flags = {};
  flags.heads = 7;
  EXPECT_THROW((void)resolve_shape(flags, config, plain(), 100), UsageError) << "256 / 7";
}

TEST(ModelShapeTest, LagsFollowTheLayersAndTheLastRepeats) {
  EXPECT_EQ(recipes::default_layer_lags(5, 3), (std::vector<std::int32_t>{1, 2, 3, 3, 3}));
}

}  // namespace
}  // namespace aloft
