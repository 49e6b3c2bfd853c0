#include <dlfcn.h>
#include <sys/resource.h>

#include <nlohmann/json.hpp>

#include "tests/cli_helpers.hpp"
#include "tests/paths.hpp"

// `aloft plan` against the resident memory that the kernel saw a run take: device buffers, host vectors,
// libraries and all.

namespace aloft::cli_tests {
namespace {

/// Is the product, which this file may not be compiled like, under AddressSanitizer?
bool sanitized() { return ::dlsym(RTLD_DEFAULT, "__asan_init") != nullptr; }

std::uint64_t resident_peak(const Words& arguments) {
  Words words = arguments;
  words.insert(words.begin(), program_path());
  std::vector<char*> argv;
  for (std::string& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  pid_t id = -1;
  EXPECT_EQ(::posix_spawn(&id, argv[0], &actions, nullptr, argv.data(), environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  rusage used{};
  EXPECT_EQ(::wait4(id, &status, 0, &used), id);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  return static_cast<std::uint64_t>(used.ru_maxrss) * 1024;
}

// The whole program, CUDA's libraries and all: they are in its plan. (They are in this process too, and the
// kernel counts a child's peak from before its exec, so a smaller program's could not be seen.)
class ProgramMemory : public testing::Test {
 protected:
  void SetUp() override { ::setenv("ALOFT_PROGRAM", built_whole_program().c_str(), 1); }
  void TearDown() override { ::unsetenv("ALOFT_PROGRAM"); }
};

TEST_F(ProgramMemory, APlanIsWhatTheProgramTakes) {
  if (sanitized()) GTEST_SKIP() << "sanitizers keep memory of their own";
  const Folder folder;
  const std::string corpus = folder.file("corpus.txt", sample_text(40'000, 3, 5000));
  const Words common{"--quiet", "--backend", "cpu",    "--threads", "1",        "--corpus", corpus,
                     "--arch",  "llama",     "--lags", "2",         "--layers", "2",        "--heads",
                     "4",       "--context", "32",     "--memory",  "8G"};
  // Large: a model's vocabulary, a table of counters. (A small need would not show: CUDA's libraries, where
  // they are linked, touch 75 MB when they are left.)
  const std::vector<Words> runs{
      {"--recipe", "unigram", "--vocab-size", "1100", "--d-model", "64", "--model-vocab-size", "120000"},
      {"--recipe", "unigram", "--vocab-size", "4000", "--d-model", "32", "--strategy", "dense"}};
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Outcome planned = run(Words{"plan", "--json"} + common + runs[i]);
    ASSERT_EQ(planned.code, 0) << planned;
    const auto plan = nlohmann::json::parse(planned.out)["memory_bytes"].get<std::uint64_t>();
    const std::uint64_t took =
        resident_peak(Words{"init", "--output", folder / std::to_string(i)} + common + runs[i]);
    EXPECT_GE(plan, took) << runs[i][1];
    // 32 MB of a program's plan are for stacks and buffers that a small run hardly uses.
    EXPECT_LE(static_cast<double>(plan), 1.25 * static_cast<double>(took) + (32 << 20)) << runs[i][1];
  }
}

}  // namespace
}  // namespace aloft::cli_tests
