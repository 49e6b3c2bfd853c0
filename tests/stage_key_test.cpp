#include <gtest/gtest.h>

#include <set>

#include "host/atomic_file.hpp"
#include "pipeline/base/stage.hpp"
#include "pipeline/offset/factors.hpp"
#include "pipeline/spectra/spectra.hpp"
#include "tests/cli_helpers.hpp"
#include "tests/stage_helpers.hpp"

// The key of a stage's result holds everything that it was made from: nothing can change without another key.

namespace aloft {
namespace {

std::string key(const std::string& parameters) { return stage_key(kEmbed, {"a", "b"}, parameters); }

/// Another value than `x`.
void change(std::string& x) { x += "?"; }
template <class T>
void change(T& x) {
  if constexpr (std::is_enum_v<T>)
    x = static_cast<T>(static_cast<int>(x) + 1);
  else
    x += 1;
}
template <class T>
void change(std::vector<T>& x) {
  x.push_back(1);
}
template <class T>
void change(std::optional<T>& x) {
  x = x.value_or(0) + 1;
}

/// Changes each of `fields`, which are those of `params`, in turn.
template <class Params, class... Fields>
void expect_in_key(Params& params, Fields&... fields) {
  std::set<std::string> keys{key(key_json(params))};
  const auto changed = [&](auto& field) {
    const auto before = field;
    change(field);
    keys.insert(key(key_json(params)));
    field = before;
  };
  (changed(fields), ...);
  EXPECT_EQ(keys.size(), sizeof...(Fields) + 1) << "a parameter that is not part of the key";
  EXPECT_TRUE(keys.contains(key(key_json(params)))) << "the same parameters, another key";
}

// The structured bindings name every field: a new one does not compile here until it is named, and then fails
// unless it is part of the key.
TEST(StageKey, HoldsEveryParameter) {
  EmbedParams embed;
  auto& [method, tensor, width, embed_seed] = embed;
  const cli_tests::Folder folder;
  folder.file("a.npy", "a");
  folder.file("a.npy?", "b");  // what a changed method names
  method = folder / "a.npy";
  expect_in_key(embed, method, tensor, width, embed_seed);

  ExpandParams expand;
  auto& [how, target, directions, layer_lags, modes, weights, ridge, expand_seed] = expand;
  expect_in_key(expand, how, target, directions, layer_lags, modes, weights, ridge, expand_seed);

  FactorParams factors;
  auto& [estimator, lags, d_s, d_o, alpha, kappa, factor_ridge, factor_seed] = factors;
  expect_in_key(factors, estimator, lags, d_s, d_o, alpha, kappa, factor_ridge, factor_seed);
}

TEST(StageKey, AFileCountsByItsContent) {
  const cli_tests::Folder folder;
  EmbedParams p;
  p.method = folder.file("e.npy", "one");
  const std::string one = key_json(p);
  folder.file("e.npy", "two");
  EXPECT_NE(key_json(p), one);
  folder.file("e.npy", "one");
  EXPECT_EQ(key_json(p), one);
}

TEST(StageKey, HoldsNameVersionAndInputs) {
  const Stage stage{.name = "embed", .version = 1, .artifact = "embedding"};
  Stage renamed = stage, newer = stage;
  renamed.name = "embedded";
  newer.version = 2;
  const std::set<std::string> keys{stage_key(stage, {"a", "b"}, "{}"),
                                   stage_key(renamed, {"a", "b"}, "{}"),
                                   stage_key(newer, {"a", "b"}, "{}"),
                                   stage_key(stage, {"b", "a"}, "{}"),
                                   stage_key(stage, {"ab"}, "{}"),
                                   stage_key(stage, {"a"}, "{}"),
                                   stage_key(stage, {}, "{}"),
                                   stage_key(stage, {"a", "b"}, "{1}"),
                                   stage_key(stage, {"a", "b", ""}, "{}")};
  EXPECT_EQ(keys.size(), 9U);
}

TEST(StageKey, AResultIsTakenUnderItsKeyAlone) {
  stages::Bench b("cpu");
  const cli_tests::Folder folder;
  Stages stages(b.ctx, folder.path.string());
  int made = 0;
  const auto embedding = [&](std::uint64_t seed, std::string_view counts) {
    const EmbedParams p{.method = "ppmi-svd", .tensor = "", .d = 2, .seed = seed};
    return stages.stage<Embedding>(kEmbed, {counts}, p, [&] {
      ++made;
      return Embedding{matrix_from(b.ctx.device(), {1, 2, 3, 4}, 2, 2), "ppmi-svd", 2};
    });
  };
  const std::string first = embedding(0, "counts").key;
  EXPECT_EQ(embedding(0, "counts").key, first);
  EXPECT_EQ(made, 1);
  EXPECT_NE(embedding(1, "counts").key, first);
  EXPECT_NE(embedding(0, "others").key, first);
  EXPECT_EQ(made, 3);
  ASSERT_EQ(b.ctx.times().size(), 4U);
  EXPECT_FALSE(b.ctx.times()[0].resumed);
  EXPECT_TRUE(b.ctx.times()[1].resumed);
  EXPECT_EQ(b.ctx.times()[1].name, "embed");
}

}  // namespace
}  // namespace aloft
