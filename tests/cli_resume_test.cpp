#include <nlohmann/json.hpp>

#include "tests/cli_helpers.hpp"

// Interrupted runs: SIGINT, SIGTERM and SIGKILL at many moments, then the same command again.

namespace aloft::cli_tests {
namespace {

const Words kTensors{
    "init.safetensors",    "counts.safetensors",   "embedding.safetensors", "projections.safetensors",
    "spectra.safetensors", "expanded.safetensors", "spectra.json",          "vocab.json"};
/// In the order in which a run writes them.
const Words kStageFiles{"counts.safetensors", "embedding.safetensors", "projections.safetensors",
                        "spectra.safetensors", "expanded.safetensors"};

class Interrupted : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new Folder();
    shared_->file("corpus.txt", sample_text(30000, 3, 4000));
    const auto start = Clock::now();
    const Outcome o = run(init(*shared_, "whole"));
    seconds_ = std::chrono::duration<double>(Clock::now() - start).count();
    ASSERT_EQ(o.code, 0) << o;
  }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }
  static Words design() {
    return {"--recipe",  "spread", "--arch",       "gpt2", "--layers",  "2",
            "--d-model", "128",    "--vocab-size", "1200", "--threads", "2"};
  }
  static Words init(const Folder& folder, const std::string& output, const std::string& corpus = "") {
    return Words{"init", "--output", folder / output, "--corpus",
                 corpus.empty() ? *shared_ / "corpus.txt" : corpus} +
           design();
  }
  void expect_as_uninterrupted(const std::string& output) const {
    Words names;
    for (const auto& entry : fs::directory_iterator(folder_ / output))
      names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    Words wanted = kTensors + Words{"manifest.json"};
    std::sort(wanted.begin(), wanted.end());
    EXPECT_EQ(names, wanted);
    for (const std::string& name : kTensors)
      EXPECT_EQ(content(folder_.path / output / name) == content(shared_->path / "whole" / name), true)
          << name;
    EXPECT_EQ(record(folder_.path / output), record(shared_->path / "whole"));
  }
  /// What the manifest says happened, but for how long it took and what was resumed.
  static nlohmann::json record(const fs::path& folder) {
    auto out = nlohmann::json::parse(content(folder / "manifest.json"))["manifest"];
    for (auto& stage : out["stages"]) stage["seconds"] = stage["resumed"] = 0;
    return out;
  }
  /// What an interruption left: no finished run, nothing half-written that looks whole.
  void expect_interrupted(const std::string& output) const {
    EXPECT_FALSE(fs::exists(folder_.path / output / "manifest.json"));
    if (!fs::exists(folder_ / output)) return;
    for (const auto& entry : fs::directory_iterator(folder_ / output)) {
      if (entry.path().extension() != ".safetensors") continue;
      const Outcome o = run({"inspect", entry.path()});
      EXPECT_EQ(o.code, 0) << entry.path() << ": " << o;
    }
  }
  /// Kills a run once it has written `name`; again when it was too quick to be killed.
  void kill_after(const std::string& name, const std::string& corpus = "") const {
    for (int attempt = 0; attempt < 5; ++attempt) {
      Process process(init(folder_, "run", corpus));
      ASSERT_TRUE(process.wait_until([&] { return exists(name); })) << process.wait();
      process.send(SIGKILL);
      if (process.wait().signal == SIGKILL) return;
      fs::remove_all(folder_ / "run");
    }
    FAIL() << "never killed";
  }
  [[nodiscard]] bool exists(const std::string& name) const { return fs::exists(folder_.path / "run" / name); }

  static Folder* shared_;
  static double seconds_;  ///< of the uninterrupted run
  Folder folder_;
};
Folder* Interrupted::shared_ = nullptr;
double Interrupted::seconds_ = 0;

// Row i of an embedding is type i of the vocabulary: another one beside the same counts would be another
// model.
TEST_F(Interrupted, AVocabularyThatIsLostOrAnothersIsWrittenAnew) {
  for (const bool lost : {true, false}) {
    kill_after("embedding.safetensors");
    if (lost)
      fs::remove(folder_.path / "run/vocab.json");
    else
      folder_.file("run/vocab.json", "{}");
    ASSERT_EQ(run(init(folder_, "run")).code, 0);
    expect_as_uninterrupted("run");
    fs::remove_all(folder_ / "run");
  }
}

TEST_F(Interrupted, AfterEachStageResumesIt) {
  int signal = SIGINT;
  for (std::size_t stage = 0; stage + 1 < kStageFiles.size(); ++stage) {
    SCOPED_TRACE(kStageFiles[stage]);
    Process process(init(folder_, "run"));
    ASSERT_TRUE(process.wait_until([&] { return exists(kStageFiles[stage]); })) << process.wait();
    process.send(signal);
    const Outcome o = process.wait();
    if (o.code == 0) {  // it was through before the signal came
      expect_as_uninterrupted("run");
      fs::remove_all(folder_ / "run");
      continue;
    }
    EXPECT_EQ(o.code, 5) << o;
    EXPECT_NE(o.err.find("aloft: interrupted; run the same command again to resume\n"), std::string::npos)
        << o;
    EXPECT_EQ(o.out, "");
    EXPECT_FALSE(exists("init.safetensors"));
    EXPECT_TRUE(exists(".aloft-state.json"));
    EXPECT_FALSE(exists(".aloft-lock"));
    expect_interrupted("run");

    const Outcome again = run(init(folder_, "run"));
    ASSERT_EQ(again.code, 0) << again;
    EXPECT_NE(again.err.find("count       resumed\n"), std::string::npos) << again;
    EXPECT_EQ(again.err.find("embed       resumed\n") != std::string::npos, stage >= 1) << again;
    expect_as_uninterrupted("run");
    EXPECT_TRUE(refused(run(init(folder_, "run")), 2, {"finished run"}));
    fs::remove_all(folder_ / "run");
    signal = signal == SIGINT ? SIGTERM : SIGINT;
  }
}

TEST_F(Interrupted, ByKillAtAnyMoment) {
  Numbers random(2024);
  double span = seconds_;
  int killed = 0;
  for (int attempt = 0; killed < 8 && attempt < 40; ++attempt) {
    const double delay = span * static_cast<double>(random.below(1000)) / 1000;
    SCOPED_TRACE(delay);
    Process process(init(folder_, "run"));
    std::this_thread::sleep_for(std::chrono::duration<double>(delay));
    process.send(SIGKILL);
    // It was through, all but its exit at the latest: the machine has become faster.
    if (process.wait().signal != SIGKILL || exists("manifest.json")) {
      fs::remove(folder_.path / "run/.aloft-lock");  // killed between the manifest and this
      expect_as_uninterrupted("run");
      fs::remove_all(folder_ / "run");
      span *= 0.7;
      continue;
    }
    expect_interrupted("run");
    if (++killed % 2 == 1) continue;  // killed twice in a row
    const Outcome again = run(init(folder_, "run"));
    ASSERT_EQ(again.code, 0) << again;
    expect_as_uninterrupted("run");
    fs::remove_all(folder_ / "run");
  }
  EXPECT_EQ(killed, 8);
}

TEST_F(Interrupted, WhileWaitingForStdin) {
  const std::string text = content(*shared_ / "corpus.txt");
  for (const int signal : {SIGINT, SIGTERM}) {
    Process process(init(folder_, "run", "-"), /*open_stdin=*/true);
    process.feed(std::string_view(text).substr(0, 70000));  // stays open: more may come
    ASSERT_TRUE(process.wait_until([&] { return exists(".aloft-lock"); })) << process.wait();
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
    EXPECT_TRUE(process.running());
    process.send(signal);
    EXPECT_TRUE(refused(process.wait(), 5, {"interrupted"}));
    EXPECT_FALSE(fs::exists(folder_ / "run")) << "nothing was finished, so nothing is to be resumed";
  }
  const Outcome o = run_with_stdin(init(folder_, "run", "-"), text);
  ASSERT_EQ(o.code, 0) << o;
  expect_as_uninterrupted("run");
}

TEST_F(Interrupted, StdinAfterCountingResumesWhatItCan) {
  const std::string text = content(*shared_ / "corpus.txt");
  {
    Process process(init(folder_, "run", "-"), /*open_stdin=*/true);
    process.feed(text);
    process.close_input();
    ASSERT_TRUE(process.wait_until([&] { return exists("counts.safetensors"); })) << process.wait();
    process.send(SIGINT);
    EXPECT_EQ(process.wait().code, 5);
    expect_interrupted("run");
  }
  const Outcome o = run_with_stdin(init(folder_, "run", "-"), text);
  ASSERT_EQ(o.code, 0) << o;
  expect_as_uninterrupted("run");
}

TEST_F(Interrupted, CountLeavesNothing) {
  const Words count{"count",
                    "--format",
                    "u16",
                    "--corpus",
                    "-",
                    "--vocab-size",
                    "500",
                    "--lags",
                    "2",
                    "--output",
                    folder_ / "counts.safetensors"};
  for (const int signal : {SIGINT, SIGTERM}) {
    Process process(count, /*open_stdin=*/true);
    process.feed(bytes_of(std::vector<std::uint16_t>(200000, 3)));
    ASSERT_TRUE(process.wait_until([&] { return process.err().find("counting") != std::string::npos; }))
        << process.wait();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    process.send(signal);
    const Outcome o = process.wait();
    EXPECT_EQ(o.code, 5) << o;
    EXPECT_EQ(o.out, "");
    EXPECT_EQ(folder_.names(), Words{});
  }
}

TEST_F(Interrupted, WithOtherSettingsIsRefused) {
  Words other = init(folder_, "run") + Words{"--seed", "4"};
  ASSERT_NO_FATAL_FAILURE(kill_after("counts.safetensors"));
  EXPECT_TRUE(refused(run(other + Words{"--quiet"}), 2, {folder_ / "run", "other settings", "--force"}));
  EXPECT_TRUE(exists("counts.safetensors"));
  // Threads and memory are not part of what a run is.
  const Outcome same = run(init(folder_, "run") + Words{"--threads", "1", "--memory", "4G"});
  ASSERT_EQ(same.code, 0) << same;
  expect_as_uninterrupted("run");

  fs::remove(folder_.path / "run/manifest.json");  // as if it were another program's
  EXPECT_TRUE(refused(run(init(folder_, "run") + Words{"--quiet"}), 2, {"already exists", "--force"}));
  const Outcome forced = run(init(folder_, "run") + Words{"--force"});
  ASSERT_EQ(forced.code, 0) << forced;
  expect_as_uninterrupted("run");
}

TEST_F(Interrupted, AChangedCorpusIsCountedAgain) {
  const std::string corpus = folder_.file("mine.txt", content(*shared_ / "corpus.txt") + "and more\n");
  ASSERT_NO_FATAL_FAILURE(kill_after("embedding.safetensors", corpus));
  folder_.file("mine.txt", content(*shared_ / "corpus.txt"));
  const Outcome o = run(init(folder_, "run", corpus));
  ASSERT_EQ(o.code, 0) << o;
  EXPECT_EQ(o.err.find("resumed"), std::string::npos) << o;
  expect_as_uninterrupted("run");
}

TEST_F(Interrupted, OneProcessAtATime) {
  Process first(init(folder_, "run", "-"), /*open_stdin=*/true);
  first.feed("the first words ");
  ASSERT_TRUE(first.wait_until([&] { return exists(".aloft-lock"); })) << first.wait();
  for (const Words& flags : {Words{"--quiet"}, Words{"--quiet", "--force"}})
    EXPECT_TRUE(refused(run(init(folder_, "run") + flags), 2, {folder_ / "run", "another aloft"}));
  EXPECT_TRUE(first.running());
  first.feed(content(*shared_ / "corpus.txt"));
  first.close_input();
  const Outcome o = first.wait();
  EXPECT_EQ(o.code, 0) << o;
  EXPECT_TRUE(exists("manifest.json"));
}

}  // namespace
}  // namespace aloft::cli_tests
