#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "host/atomic_file.hpp"
#include "host/hash.hpp"
#include "pipeline/recipes/recipe.hpp"
#include "pipeline/run/run.hpp"
#include "tests/cli_helpers.hpp"
#include "tests/emit_helpers.hpp"

// A folder with the results of another request: no run may take one of them for its own. Whatever flag of a
// recipe is changed, and whatever else a stage reads, the outcome is that of an empty folder.

namespace aloft {
namespace {

using Change = std::function<void(RunConfig&)>;

/// For every flag of a recipe something that it may be changed to.
const std::map<std::string_view, Change> kChanges{
    {"embedding", [](RunConfig& c) { c.embed.method = "mobius"; }},
    {"embedding-tensor", [](RunConfig& c) { c.embed.tensor = "other"; }},
    {"pr-target", [](RunConfig& c) { c.expand.pr_target = 8; }},
    {"directions", [](RunConfig& c) { c.expand.directions = Directions::haar; }},
    {"sign", [](RunConfig& c) { c.compose.sign = Sign::paper; }},
    {"noise", [](RunConfig& c) { c.compose.noise = 0.5; }},
    {"strength", [](RunConfig& c) { c.compose.strength = 2; }},
    {"no-embedding", [](RunConfig& c) { c.compose.emit_embedding = false; }},
    {"null-tokens", [](RunConfig& c) { c.null_tokens = 500; }},
    {"expand", [](RunConfig& c) { c.expand.method = ExpandMethod::stack; }},
    {"layer-lags",
     [](RunConfig& c) {
       c.expand.layer_lags = {3, 1, 2};
     }},
    {"stack-modes", [](RunConfig& c) { c.expand.method = ExpandMethod::stack, c.expand.stack_modes = 3; }},
    {"stack-weights",
     [](RunConfig& c) {
       c.expand.method = ExpandMethod::stack, c.expand.stack_weights = {1, 2, 3};
     }},
    {"control", [](RunConfig& c) { c.offset.control = Control::reversed; }},
    {"offset-layers",
     [](RunConfig& c) {
       c.offset.placement.lag_layers = {1, 0, 1};
     }},
    {"offset-lags", [](RunConfig& c) { c.offset.placement.lags = 1; }},
    {"source-dims", [](RunConfig& c) { c.offset.placement.source_dims = 5; }},
    {"position-frequencies", [](RunConfig& c) { c.offset.placement.position_frequencies = 3; }},
    {"sharpness", [](RunConfig& c) { c.offset.placement.sharpness = 9; }},
    {"write-norm", [](RunConfig& c) { c.offset.placement.write_norm = 2; }},
    {"prior-sharpness", [](RunConfig& c) { c.offset.placement.prior_sharpness = 2; }},
    {"recency", [](RunConfig& c) { c.offset.placement.recency = 1; }},
    {"background", [](RunConfig& c) { c.offset.placement.background = Background::orthogonal; }},
    {"zero-outputs", [](RunConfig& c) { c.offset.placement.zero_outputs = true; }},
    {"estimator",
     [](RunConfig& c) {
       c.offset.estimator = Estimator::tucker;
       c.offset.factors.alpha = c.offset.factors.ridge = std::nullopt;  // which has none
     }},
    {"alpha", [](RunConfig& c) { c.offset.factors.alpha = 0.9; }},
    {"kappa", [](RunConfig& c) { c.offset.factors.kappa = 77; }},
    {"ridge", [](RunConfig& c) { c.offset.factors.ridge = 7; }},
    {"induction", [](RunConfig& c) { c.offset.placement.induction = true; }}};
/// What any run may be asked.
const std::map<std::string_view, Change> kOthers{
    {"seed", [](RunConfig& c) { c.seed = 5; }},
    {"stream-scale", [](RunConfig& c) { c.compose.stream_scale = 5; }},
    {"lags", [](RunConfig& c) { c.lags = 4; }}};

class StaleResults : public testing::TestWithParam<std::string> {
 protected:
  StaleResults() {
    config_.corpus.paths = {folder_.file("text", cli_tests::sample_text(800, 5, 60))};
    config_.corpus.tokenizer = "words";
    config_.corpus.vocab_size = 60;
    config_.lags = 3;
    config_.null_tokens = 1000;
    config_.backend = "cpu";
    config_.threads = 1;
    config_.expand.pr_target = 5;
    config_.offset.factors.alpha = 0.5;  // given: nothing is searched for, and runs are short
    config_.offset.factors.kappa = 30;
    config_.offset.factors.ridge = 1;
    config_.offset.placement.position_frequencies = 4;
    config_.compose.recipe = GetParam();
    flags_.layers = 3;  // room for a pair of induction heads
    flags_.heads = 4;
    flags_.d_model = 64;
    flags_.context = 16;
  }
  void run(const RunConfig& config, const std::string& output) {
    RunConfig there = config;
    there.output = folder_ / output;
    NoProgress progress;
    // a table of positions, so that every flag means something
    (void)run_init(there, flags_, {}, architecture("nanogpt"), "{}", progress, [](const std::string&) {});
  }
  /// A finished run as one that was interrupted at its end.
  void interrupt(const std::string& output) const {
    std::filesystem::remove(folder_.path / output / "manifest.json");
    write_file(folder_ / (output + "/.aloft-state.json"), nlohmann::json{{"settings", hash_of("{}")}}.dump());
  }
  /// The files that hold what was designed.
  [[nodiscard]] std::map<std::string, std::string> results(const std::string& output) const {
    std::map<std::string, std::string> out;
    for (const char* name : {"init.safetensors", "offset.json", "spectra.json"})
      if (std::filesystem::exists(folder_.path / output / name))
        out[name] = cli_tests::content(folder_.path / output / name);
    return out;
  }
  void expect_fresh(std::string_view what, const Change& change) {
    SCOPED_TRACE(what);
    RunConfig changed = config_;
    change(changed);
    std::filesystem::copy(folder_.path / "base", folder_.path / "stale",
                          std::filesystem::copy_options::recursive);
    run(changed, "stale");
    run(changed, "fresh");
    EXPECT_FALSE(results("fresh").empty());
    EXPECT_EQ(results("stale") == results("fresh"), true) << "a result of another request was used";
    std::filesystem::remove_all(folder_.path / "stale");
    std::filesystem::remove_all(folder_.path / "fresh");
  }

  cli_tests::Folder folder_;
  RunConfig config_;
  ModelFlags flags_;
};

TEST_P(StaleResults, AreNeverUsed) {
  run(config_, "base");
  interrupt("base");
  for (const std::string_view flag : find_recipe(GetParam()).flags) {
    ASSERT_TRUE(kChanges.contains(flag)) << "say here what --" << flag << " may be changed to";
    expect_fresh(flag, kChanges.at(flag));
  }
  for (const auto& [what, change] : kOthers) expect_fresh(what, change);
}

INSTANTIATE_TEST_SUITE_P(Each, StaleResults, testing::Values("offset", "spread"));

}  // namespace
}  // namespace aloft
