#include <gtest/gtest.h>

#include <filesystem>

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
  [[nodiscard]] std::string path() const { return folder_.string(); }
  fs::path folder_;
};

TEST_F(RunFolderTest, AFailureBeforeAnyStageLeavesNothing) {
  { RunFolder run(path(), "a", false); }
  EXPECT_FALSE(fs::exists(folder_));
  fs::create_directories(folder_);
  write_file((folder_ / "mine.txt").string(), "kept");
  { RunFolder run(path(), "a", false); }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(RunFolderTest, ResumesTheSameSettingsOnly) {
  {
    RunFolder run(path(), "a", false);
    EXPECT_FALSE(run.resuming());
    run.remember("counts.key", "k");
  }
  {
    RunFolder run(path(), "a", false);
    EXPECT_TRUE(run.resuming());
    EXPECT_EQ(run.recall("counts.key"), "k");
  }
  EXPECT_THROW(RunFolder(path(), "b", false), UsageError);
  RunFolder forced(path(), "b", true);
  forced.begin();
  EXPECT_FALSE(forced.resuming());
  EXPECT_FALSE(forced.recall("counts.key"));
}

TEST_F(RunFolderTest, AFinishedRunIsRefusedAndForceRemovesOnlyWhatARunWrites) {
  {
    RunFolder run(path(), "a", false);
    write_file(run.file("init.safetensors"), "x");
    write_file(run.file("notes.txt"), "mine");
    run.complete("{}");
  }
  EXPECT_THROW(RunFolder(path(), "a", false), UsageError);
  EXPECT_TRUE(fs::exists(folder_ / "init.safetensors")) << "a refusal touched the run";
  EXPECT_FALSE(fs::exists(folder_ / ".aloft-lock"));
  { RunFolder failed(path(), "a", true); }
  EXPECT_TRUE(fs::exists(folder_ / "init.safetensors") && fs::exists(folder_ / "manifest.json"))
      << "a run that did not begin touched the one it was to replace";
  RunFolder run(path(), "a", true);
  EXPECT_THROW(run.expect_kept({(folder_ / "init.safetensors").string()}), UsageError);
  EXPECT_NO_THROW(run.expect_kept({(folder_ / "notes.txt").string()}));
  run.begin();
  EXPECT_FALSE(fs::exists(folder_ / "init.safetensors"));
  EXPECT_FALSE(fs::exists(folder_ / "manifest.json"));
  EXPECT_TRUE(fs::exists(folder_ / "notes.txt"));
}

TEST_F(RunFolderTest, OneProcessAtATimeAndPartialFilesAreSwept) {
  fs::create_directories(folder_);
  write_file((folder_ / ".init.safetensors.aloft-partial-1").string(), "half");
  RunFolder run(path(), "a", false);
  EXPECT_FALSE(fs::exists(folder_ / ".init.safetensors.aloft-partial-1"));
  EXPECT_THROW(RunFolder(path(), "a", false), UsageError);
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
