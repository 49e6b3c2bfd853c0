#include <nlohmann/json.hpp>

#include "tests/cli_helpers.hpp"

// The program where the kernel holds memory down: in a control group it may not be killed, under a limit of
// the address space it may not hang. It ends well, or with exit code 4 and one line.

namespace aloft::cli_tests {
namespace {

constexpr std::uint64_t kOneMiB = std::uint64_t{1} << 20;
constexpr int kKilled = 137;

/// A control group of this size, of version 1 or 2, where the machine lets a test have one.
class Group {
 public:
  explicit Group(std::uint64_t bytes) {
    for (const auto& [folder, limit] :
         {std::pair{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"}}) {
      static int groups = 0;
      const fs::path path = fs::path(folder) / fmt::format("aloft-test-{}-{}", ::getpid(), ++groups);
      std::error_code failed;
      if (!fs::create_directory(path, failed)) continue;
      if (fs::exists(path / limit)) {
        std::ofstream(path / limit) << bytes;
        std::ofstream(path / "memory.swap.max") << 0;
        std::uint64_t kept = 0;
        std::ifstream(path / limit) >> kept;
        if (kept > 0 && kept <= bytes) {
          path_ = path;
          return;
        }
      }
      fs::remove(path, failed);
    }
  }
  ~Group() {
    std::error_code ignored;
    for (int i = 0; i < 50 && !path_.empty() && !fs::remove(path_, ignored); ++i)  // its last process ends
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  [[nodiscard]] bool made() const { return !path_.empty(); }
  [[nodiscard]] std::string enter() const {
    EXPECT_TRUE(made());  // a machine that lets a test have one lets it have two
    return "echo \\$\\$ > " + (path_ / "cgroup.procs").string() + " && ";
  }

 private:
  fs::path path_;
};

/// Exit code and stderr of the program, started by a shell that first does `before`.
Outcome run_after(const std::string& before, const Words& words, const Folder& folder) {
  std::string line = before + "exec timeout -s KILL 120 '" + program_path() + "'";
  for (const std::string& word : words) line += " '" + word + "'";
  line = "sh -c \"" + line + "\" > " + (folder / "out") + " 2> " + (folder / "err");
  const int status = std::system(line.c_str());
  Outcome out;
  out.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  out.out = content(folder / "out");
  out.err = content(folder / "err");
  return out;
}

std::size_t lines_of(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

Words count_words(const std::string& corpus, const std::string& output) {
  return {"count",    "--json", "--quiet", "--backend", "cpu",      "--threads", "1",
          "--corpus", corpus,   "--lags",  "8",         "--output", output,      "--force"};
}
const Words kHeldModel{"--backend", "cpu", "--threads", "1",  "--quiet",   "--arch", "llama", "--layers", "4",
                       "--heads",   "4",   "--context", "32", "--d-model", "256"};

TEST(Limits, AControlGroupOfThePlannedSizeIsEnough) {
  if (under_sanitizers()) GTEST_SKIP() << "sanitizers keep memory of their own";
  if (!Group(64 * kOneMiB).made())
    GTEST_SKIP() << "no control group for memory can be made here (root, cgroup v1 or v2)";
  const Folder folder;
  const std::string corpus = folder.file("corpus.txt", sample_text(60'000, 3, 5000));
  const std::string counts = folder / "counts.safetensors";
  for (const std::string strategy : {"dense", "sparse", "striped"}) {
    const Words count = count_words(corpus, counts) + Words{"--vocab-size", "1500", "--strategy", strategy};
    const Outcome free = run_after("", count, folder);
    ASSERT_EQ(free.code, 0) << free;
    const auto planned = nlohmann::json::parse(free.out)["memory_bytes"].get<std::uint64_t>();
    const Group group(planned);
    const Outcome held = run_after(group.enter(), count + Words{"--memory", std::to_string(planned)}, folder);
    // (What the program itself takes differs by some kilobytes from start to start.)
    EXPECT_TRUE(held.code == 0 || held.code == 4) << strategy << ", " << planned << " bytes: " << held;
    const Group larger(planned + kOneMiB);
    EXPECT_EQ(
        run_after(larger.enter(), count + Words{"--memory", std::to_string(planned + kOneMiB)}, folder).code,
        0)
        << strategy;
  }
  for (const std::string recipe : {"unigram", "mimetic", "asymmetry"}) {
    Words words = kHeldModel + Words{"--recipe", recipe};
    if (recipe != "mimetic") words = words + Words{"--corpus", corpus, "--vocab-size", "1500", "--lags", "2"};
    if (recipe == "asymmetry") words = words + Words{"--null-tokens", "0"};
    const Outcome plan = run(Words{"plan", "--json"} + words);
    ASSERT_EQ(plan.code, 0) << plan;
    const auto planned = nlohmann::json::parse(plan.out)["memory_bytes"].get<std::uint64_t>();
    const Group group(planned);
    const Outcome held = run_after(
        group.enter(),
        Words{"init", "--output", folder / recipe, "--memory", std::to_string(planned)} + words, folder);
    EXPECT_TRUE(held.code == 0 || held.code == 4) << recipe << ", " << planned << " bytes: " << held;
  }
}

TEST(Limits, WithoutMemoryAControlGroupDecides) {
  if (under_sanitizers()) GTEST_SKIP() << "sanitizers keep memory of their own";
  const Group group(512 * kOneMiB);
  if (!group.made()) GTEST_SKIP() << "no control group for memory can be made here (root, cgroup v1 or v2)";
  const Folder folder;
  const std::string corpus = folder.file("corpus.txt", sample_text(100'000, 3, 5000));
  // The table would take 763 MiB.
  for (const std::string strategy : {"auto", "dense"}) {
    const Outcome got = run_after(
        group.enter(),
        count_words(corpus, folder / "c") + Words{"--vocab-size", "5000", "--strategy", strategy}, folder);
    EXPECT_NE(got.code, kKilled) << got;
    EXPECT_EQ(got.code, strategy == "auto" ? 0 : 4) << got;
    EXPECT_EQ(lines_of(got.err), strategy == "auto" ? 0u : 1u) << got.err;
  }
  const Outcome doctor = run_after(group.enter(), {"doctor", "--json"}, folder);
  ASSERT_EQ(doctor.code, 0) << doctor;
  const auto said = nlohmann::json::parse(doctor.out);
  EXPECT_LE(said["memory_available_bytes"].get<std::uint64_t>(), 512 * kOneMiB);
  EXPECT_NE(said["memory_limit"].get<std::string>().find("cgroup"), std::string::npos) << doctor.out;
}

TEST(Limits, NoLimitOfTheAddressSpaceHangs) {
  if (under_sanitizers()) GTEST_SKIP() << "sanitizers reserve addresses of their own";
  const Folder folder;
  const std::string corpus = folder.file("corpus.txt", sample_text(20'000, 3, 500));
  bool refused = false, done = false;
  for (const char* kib : {"80000", "120000", "200000", "300000", "400000", "500000", "700000", "1500000"})
    for (const Words& words :
         {count_words(corpus, folder / "c") + Words{"--vocab-size", "500"},
          Words{"init", "--recipe", "orthogonal", "--output", folder / kib} + kHeldModel}) {
      const Outcome got = run_after("ulimit -v " + std::string(kib) + "; ", words, folder);
      EXPECT_TRUE(got.code == 0 || got.code == 4) << kib << " " << words[0] << ": " << got;
      EXPECT_EQ(lines_of(got.err), got.code == 0 ? 0u : 1u) << kib << " " << words[0] << ": " << got.err;
      refused |= got.code == 4;
      done |= got.code == 0;
    }
  EXPECT_TRUE(refused && done);
}

}  // namespace
}  // namespace aloft::cli_tests
