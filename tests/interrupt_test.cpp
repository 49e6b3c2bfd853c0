#include "host/interrupt.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "host/atomic_file.hpp"
#include "host/error.hpp"
#include "host/tidy_up.hpp"
#include "pipeline/run/folder.hpp"
#include "tests/corpus_helpers.hpp"

// A signal in work that never looks for one. Each case is a process of its own; tests/interrupt_latency.py
// measures the program.

namespace aloft {
namespace {

using corpus_tests::Folder;
namespace fs = std::filesystem;

constexpr const char* kLine = "^aloft: interrupted; run the same command again to resume\n$";

void pause_for(int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }

/// As a library's singular value decomposition: until long after any patience.
[[noreturn]] void work_without_looking() {
  ::alarm(30);
  volatile std::uint64_t work = 0;
  for (;;) work = work + 1;
}

class Signal : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "fast"); }
  Folder folder_;
};

TEST_F(Signal, EndsWorkThatNeverLooksForOne) {
  const auto child = [&] {
    install_interrupt_handlers();
    AtomicFile file((folder_.path / "result").string());
    file.write("half of it");
    std::raise(SIGTERM);
    work_without_looking();
  };
  EXPECT_EXIT(child(), testing::ExitedWithCode(5), kLine);
  EXPECT_TRUE(fs::is_empty(folder_.path));
}

TEST_F(Signal, LeavesNothingOfARunThatFinishedNothing) {
  const auto child = [&] {
    install_interrupt_handlers();
    RunFolder run((folder_.path / "new/run").string(), "settings", false);
    run.begin();
    std::raise(SIGINT);
    work_without_looking();
  };
  EXPECT_EXIT(child(), testing::ExitedWithCode(5), kLine);
  EXPECT_TRUE(fs::is_empty(folder_.path));
}

TEST_F(Signal, KeepsFinishedStages) {
  const auto child = [&] {
    install_interrupt_handlers();
    RunFolder run(folder_.path.string(), "settings", false);
    run.begin();
    run.remember({{"counts.inputs", "x"}});
    std::raise(SIGTERM);
    work_without_looking();
  };
  EXPECT_EXIT(child(), testing::ExitedWithCode(5), kLine);
  EXPECT_FALSE(fs::exists(folder_.path / ".aloft-lock"));
  EXPECT_EQ(RunFolder(folder_.path.string(), "settings", false).recall("counts.inputs"), "x");
}

TEST_F(Signal, WaitsWhileFilesAreChanged) {
  const auto child = [&] {
    install_interrupt_handlers();
    std::raise(SIGTERM);
    {
      const KeepWhole whole;
      pause_for(900);
      const KeepWhole inner;
      write_file((folder_.path / "both").string(), "whole");
    }
    work_without_looking();
  };
  EXPECT_EXIT(child(), testing::ExitedWithCode(5), kLine);
  EXPECT_EQ(read_file((folder_.path / "both").string()), "whole");
}

TEST_F(Signal, IsAnsweredByTheNextCheckWhereThereIsOne) {
  const auto child = [&] {
    install_interrupt_handlers();
    std::raise(SIGTERM);
    try {
      check_interrupt();
    } catch (const Interrupted&) {
      interrupts_are_over();
      pause_for(900);  // nobody ends the process in its place
      ::_exit(7);
    }
  };
  EXPECT_EXIT(child(), testing::ExitedWithCode(7), "^$");
}

TEST_F(Signal, TheSecondEndsTheProcessAtOnce) {
  const auto child = [&] {
    install_interrupt_handlers();
    const KeepWhole whole;
    std::raise(SIGTERM);
    std::raise(SIGTERM);
    work_without_looking();
  };
  EXPECT_EXIT(child(), testing::KilledBySignal(SIGTERM), "^$");
}

}  // namespace
}  // namespace aloft
