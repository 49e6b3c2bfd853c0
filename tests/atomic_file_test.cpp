#include "host/atomic_file.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "host/error.hpp"

namespace {

namespace fs = std::filesystem;
using namespace aloft;

class AtomicFileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("aloft-atomic-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  [[nodiscard]] std::string at(const char* name) const { return (folder_ / name).string(); }
  [[nodiscard]] long entries() const {
    return std::distance(fs::directory_iterator(folder_), fs::directory_iterator());
  }

  fs::path folder_;
};

TEST_F(AtomicFileTest, AppearsWholeOnCommitAndNotBefore) {
  AtomicFile file(at("a"));
  file.write("one ");
  file.write("two");
  EXPECT_FALSE(fs::exists(at("a")));
  file.commit();
  EXPECT_EQ(read_file(at("a")), "one two");
  EXPECT_EQ(entries(), 1);
}

TEST_F(AtomicFileTest, LeavesNothingBehindWhenNotCommitted) {
  try {
    AtomicFile file(at("a"));
    file.write("half");
    throw InputError("the writer gave up");
  } catch (const InputError&) {
  }
  EXPECT_EQ(entries(), 0);
}

TEST_F(AtomicFileTest, AFileOfThatNameIsKeptUntilTheNewOneIsWhole) {
  write_file(at("a"), "old");
  {
    AtomicFile file(at("a"));
    file.write("new");
    EXPECT_EQ(read_file(at("a")), "old");
  }
  EXPECT_EQ(read_file(at("a")), "old");
  write_file(at("a"), "new");
  EXPECT_EQ(read_file(at("a")), "new");
  EXPECT_EQ(entries(), 1);
}

TEST_F(AtomicFileTest, AFolderThatCannotBeWrittenIsAnInputErrorNamingTheFile) {
  const std::string path = at("absent/a");
  try {
    AtomicFile file(path);
    FAIL() << "no error";
  } catch (const InputError& e) {
    EXPECT_NE(std::string(e.what()).find(path), std::string::npos) << e.what();
  }
}

TEST_F(AtomicFileTest, ATargetThatIsAFolderIsRefusedAtOnce) {
  fs::create_directories(at("a/inside"));
  EXPECT_THROW(AtomicFile(at("a")), InputError);
  EXPECT_EQ(entries(), 1);
  EXPECT_TRUE(fs::is_directory(at("a/inside")));
}

TEST_F(AtomicFileTest, ATargetThatBecomesAFolderIsRefusedAtCommitAndCleanedUp) {
  {
    AtomicFile file(at("a"));
    file.write("x");
    fs::create_directories(at("a/inside"));
    EXPECT_THROW(file.commit(), InputError);
  }
  EXPECT_EQ(entries(), 1);
  EXPECT_TRUE(fs::is_directory(at("a/inside")));
}

// Who can foresee the name could plant a link there, to have another file written.
TEST_F(AtomicFileTest, ItsTemporaryNameIsNewAndDifferentEachTime) {
  std::set<std::string> names;
  for (int k = 0; k < 3; ++k) {
    AtomicFile file(at("a"));
    file.write("x");
    ASSERT_EQ(entries(), 1);
    names.insert(fs::directory_iterator(folder_)->path().filename().string());
  }
  EXPECT_EQ(names.size(), 3u);
  for (const std::string& name : names) {
    EXPECT_TRUE(name.starts_with(".a.aloft-partial-")) << name;
    EXPECT_EQ(name.find(std::to_string(::getpid())), std::string::npos) << name;
  }
}

TEST_F(AtomicFileTest, SeveralAppearTogetherOrNotAtAll) {
  write_file(at("a"), "old a");
  {
    AtomicFile a(at("a")), b(at("b"));
    a.write("new a");
    b.write("new b");
    AtomicFile::commit_together({&a, &b});
  }
  EXPECT_EQ(read_file(at("a")), "new a");
  EXPECT_EQ(read_file(at("b")), "new b");
  EXPECT_EQ(entries(), 2);
  {
    AtomicFile a(at("a")), c(at("c"));
    a.write("newer a");
    c.write("c");
    fs::create_directories(at("c/inside"));
    EXPECT_THROW(AtomicFile::commit_together({&a, &c}), InputError);
  }
  EXPECT_EQ(read_file(at("a")), "new a");
  EXPECT_EQ(entries(), 3);
  fs::remove_all(at("c"));
  {
    AtomicFile a(at("a")), c(at("c"));
    a.write("newer a");
    c.write("c");
    for (const auto& entry : fs::directory_iterator(folder_))
      if (entry.path().filename().string().starts_with(".c.")) fs::remove(entry.path());
    EXPECT_THROW(AtomicFile::commit_together({&a, &c}), InputError);
  }
  EXPECT_EQ(read_file(at("a")), "new a") << "it was put back";
  EXPECT_EQ(entries(), 2);
}

TEST_F(AtomicFileTest, OnlyLeftoversOfThatNameAreRemovedAndNoneThatIsBeingWritten) {
  write_file(at(".a.aloft-partial-0123456789abcdef"), "left");
  write_file(at(".a.aloft-partial-4711"), "left by version 0.1");
  write_file(at(".b.aloft-partial-0123456789abcdef"), "another's");
  write_file(at(".a.aloft-partial-mine"), "a user's");
  AtomicFile living(at("a"));
  remove_leftovers(at("a"));
  EXPECT_EQ(entries(), 3);
  living.write("whole");
  living.commit();
  EXPECT_EQ(read_file(at("a")), "whole");
}

TEST_F(AtomicFileTest, ReadFileRefusesFoldersAbsentAndLargeFiles) {
  EXPECT_THROW((void)read_file(folder_.string()), InputError);
  EXPECT_THROW((void)read_file(at("absent")), InputError);
  write_file(at("a"), std::string(100, 'x'));
  EXPECT_EQ(read_file(at("a"), 100).size(), 100u);
  EXPECT_THROW((void)read_file(at("a"), 99), InputError);
  write_file(at("empty"), "");
  EXPECT_EQ(read_file(at("empty")), "");
}

}  // namespace
