#include "host/atomic_file.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
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
