#include <nlohmann/json.hpp>

#include "tests/cli_helpers.hpp"
#include "tests/paths.hpp"

// `aloft plan` against the resident memory that the kernel saw a run take: device buffers, host vectors,
// libraries and all.

namespace aloft::cli_tests {
namespace {

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
  // Of its own memory: what wait4() tells begins with this process's size.
  const std::string status_file = "/proc/" + std::to_string(id) + "/status";
  std::uint64_t most = 0;
  int status = 0;
  while (::waitpid(id, &status, WNOHANG) == 0) {
    std::ifstream in(status_file);
    std::string line;
    while (std::getline(in, line))
      if (line.rfind("VmHWM:", 0) == 0)
        most = std::max<std::uint64_t>(most, std::stoull(line.substr(6)) * 1024);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  return most;
}

// The whole program, with every backend it has. (The kernel counts a child's peak from before its exec, so
// one that takes less than this process could not be seen.)
class ProgramMemory : public testing::Test {
 protected:
  void SetUp() override { ::setenv("ALOFT_PROGRAM", built_whole_program().c_str(), 1); }
  void TearDown() override { ::unsetenv("ALOFT_PROGRAM"); }
};

TEST_F(ProgramMemory, APlanIsWhatTheProgramTakes) {
  if (under_sanitizers()) GTEST_SKIP() << "sanitizers keep memory of their own";
  const Folder folder;
  const std::string corpus = folder.file("corpus.txt", sample_text(40'000, 3, 5000));
  const Words common{"--quiet", "--backend", "cpu",   "--threads", "1", "--corpus",
                     corpus,    "--arch",    "llama", "--lags",    "2", "--layers",
                     "2",       "--heads",   "4",     "--context", "32"};
  // Large: a model's vocabulary, a table of counters, an embedding of many more rows than are used.
  std::string numbers(std::size_t{150'000} * 128 * sizeof(float), 0);
  for (std::uint32_t i = 0; i < numbers.size() / sizeof(float); ++i) {
    const float x = static_cast<float>(static_cast<std::int32_t>(i * 2654435761u)) * 0x1p-31f;
    std::memcpy(numbers.data() + i * sizeof x, &x, sizeof x);
  }
  const std::string padded =
      folder.file("padded.npy", "\x93NUMPY\x01" + std::string("\0\x76\0", 3) +
                                    "{'descr': '<f4', 'fortran_order': False, 'shape': (150000, 128)}" +
                                    std::string(53, ' ') + "\n" + numbers);
  const std::vector<Words> runs{
      {"--recipe", "unigram", "--vocab-size", "1100", "--d-model", "64", "--model-vocab-size", "120000"},
      {"--recipe", "unigram", "--vocab-size", "4000", "--d-model", "32", "--strategy", "dense"},
      {"--recipe", "unigram", "--vocab-size", "4000", "--d-model", "32", "--strategy", "striped", "--memory",
       "200M"},
      {"--recipe", "asymmetry", "--vocab-size", "1100", "--d-model", "128", "--null-tokens", "0",
       "--embedding", padded},
      {"--recipe", "mimetic", "--d-model", "512"}};
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Outcome planned = run(Words{"plan", "--json"} + common + runs[i]);
    ASSERT_EQ(planned.code, 0) << planned;
    const auto plan = nlohmann::json::parse(planned.out)["memory_bytes"].get<std::uint64_t>();
    const std::uint64_t took =
        resident_peak(Words{"init", "--output", folder / std::to_string(i)} + common + runs[i]);
    EXPECT_GE(plan, took) << runs[i][1];
    // 16 MB of a program's plan are for stacks and buffers that a small run hardly uses.
    EXPECT_LE(static_cast<double>(plan), 1.25 * static_cast<double>(took) + (16 << 20)) << runs[i][1];
  }
}

// 64 MiB were once added after counting was planned for all that is allowed: budgets were refused although
// more stripes would have fitted.
TEST_F(ProgramMemory, EveryBudgetAboveTheLeastWillDoAndIsKept) {
  if (under_sanitizers()) GTEST_SKIP() << "sanitizers keep memory of their own";
  const Folder folder;
  const std::string corpus = folder.file("corpus.txt", sample_text(30'000, 3, 3000));
  const auto words = [&](std::uint64_t mib) {
    return Words{"--quiet",
                 "--backend",
                 "cpu",
                 "--threads",
                 "1",
                 "--corpus",
                 corpus,
                 "--vocab-size",
                 "3000",
                 "--strategy",
                 "striped",
                 "--lags",
                 "8",
                 "--memory",
                 std::to_string(mib) + "M"};
  };
  const Words init{"--recipe", "unigram", "--arch",    "llama", "--layers",  "1",
                   "--heads",  "1",       "--d-model", "32",    "--context", "8"};
  bool accepted = false;
  for (std::uint64_t mib = 20; mib <= 340; mib += 10) {
    const Outcome plan = run(Words{"plan", "--json"} + words(mib) + init);
    EXPECT_TRUE(plan.code == 0 || (plan.code == 4 && !accepted)) << mib << " MiB: " << plan;
    accepted |= plan.code == 0;
  }
  EXPECT_TRUE(accepted);
  for (const std::uint64_t mib : {130, 180, 240})
    EXPECT_LE(resident_peak(Words{"count", "--output", folder / std::to_string(mib)} + words(mib)), mib << 20)
        << mib << " MiB";
}

/// The size that a refusal names, as it is written.
std::string size_to_give(const Outcome& refused) {
  const std::string before = "raise --memory to ";
  const std::size_t at = refused.err.find(before);
  EXPECT_TRUE(refused.code == 4 && at != std::string::npos) << refused;
  if (at == std::string::npos) return "1T";
  const std::string rest = refused.err.substr(at + before.size());
  return rest.substr(0, rest.find(','));
}

// A run that was given what the refusal asked for was refused again, and asked for more: counting took longer
// chunks with more memory, and the message knew of counting alone.
TEST_F(ProgramMemory, WhatARefusalSaysWillDo) {
  if (under_sanitizers()) GTEST_SKIP() << "sanitizers keep memory of their own";
  const Folder folder;
  const std::string corpus = folder.file("corpus.txt", sample_text(60'000, 3, 5000));
  const Words text{"--corpus", corpus, "--vocab-size", "3000", "--lags", "4"},
      common{"--backend", "cpu", "--threads", "1", "--quiet"},
      model{"--arch", "llama", "--layers", "2", "--heads", "4", "--context", "32", "--d-model", "128"};
  for (const std::string strategy : {"auto", "dense", "sparse"}) {
    const Words count = Words{"count", "--strategy", strategy, "--output", folder / strategy} + common + text;
    const std::string named = size_to_give(run(count + Words{"--memory", "1M"}));
    const Outcome again = run(count + Words{"--memory", named});
    EXPECT_EQ(again.code, 0) << strategy << ", " << named << again;
  }
  for (const std::string recipe : {"offset", "spread", "zero-proj"}) {
    const Words init = Words{"--recipe", recipe, "--output", folder / recipe} + common + model +
                       (recipe == "zero-proj" ? Words{} : text);
    const std::string named = size_to_give(run(Words{"init"} + init + Words{"--memory", "1M"}));
    EXPECT_EQ(run(Words{"plan"} + init + Words{"--memory", named}).code, 0) << recipe << ", " << named;
    const std::string less = std::to_string(std::stoull(named) * 9 / 10) + "M";
    EXPECT_EQ(run(Words{"plan"} + init + Words{"--memory", less}).code, 4) << recipe << ", " << less;
  }
}

// A part of the counts waits for every digit of the number of stripes, each with offsets of all rows.
TEST_F(ProgramMemory, ManyStripesFitWhatTheirRefusalNames) {
  if (under_sanitizers()) GTEST_SKIP() << "sanitizers keep memory of their own";
  const Folder folder;
  std::string ids;
  Numbers random(5);
  for (int k = 0; k < 12'000; ++k) {
    const auto id = static_cast<std::uint16_t>(random.below(2) == 0 ? random.below(20) : random.below(4000));
    ids += {static_cast<char>(id & 0xFF), static_cast<char>(id >> 8)};
  }
  const Words count{"count",   "--corpus", folder.file("ids.u16", ids), "--vocab-size", "4000", "--strategy",
                    "striped", "--output", folder / "c.safetensors",    "--backend",    "cpu",  "--threads",
                    "1",       "--quiet"};
  const std::string named = size_to_give(run(count + Words{"--memory", "1M"}));
  const Outcome again = run(count + Words{"--memory", named});
  EXPECT_EQ(again.code, 0) << named << again;
}

TEST_F(ProgramMemory, SizesMayBeOfEitherKindAndAreExplained) {
  const Words plan{"plan",     "--json", "--recipe", "mimetic", "--backend", "cpu", "--arch",    "llama",
                   "--layers", "1",      "--heads",  "1",       "--context", "8",   "--d-model", "32"};
  for (const auto& [text, bytes] : {std::pair{"800MB", 800'000'000u},
                                    {"1GB", 1'000'000'000u},
                                    {"800M", 800u << 20},
                                    {"800MiB", 800u << 20},
                                    {"900000kB", 900'000'000u},
                                    {"1.5GiB", 3u << 29}}) {
    const Outcome got = run(plan + Words{"--memory", text});
    ASSERT_EQ(got.code, 0) << text << got;
    EXPECT_EQ(nlohmann::json::parse(got.out)["memory_allowed_bytes"].get<std::uint64_t>(), bytes) << text;
    EXPECT_EQ(nlohmann::json::parse(got.out)["memory_limit"], "--memory");
  }
  for (const char* text : {"10X", "-5M", "0", "G", "1e30G", "5 GBB"})
    EXPECT_EQ(run(plan + Words{"--memory", text}).code, 2) << text;
  EXPECT_NE(run(plan + Words{"--device-memory", "5G"}).err.find("--device-memory"), std::string::npos);
  EXPECT_NE(run(plan + Words{"--memory", "900000G"}).err.find("more than"), std::string::npos);
}

// They take a third of a second and 250 MB, whatever the program does.
TEST_F(ProgramMemory, LibrariesOfAGpuAreNotLoadedWithTheProgram) {
  const std::string ldd = "ldd '" + built_whole_program() + "' | grep -qE 'libcu(blas|solver|sparse|fft)'";
  EXPECT_NE(std::system(ldd.c_str()), 0);
}

}  // namespace
}  // namespace aloft::cli_tests
