#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "host/atomic_file.hpp"
#include "pipeline/recipes/recipe.hpp"
#include "pipeline/run/folder.hpp"
#include "tests/cli_helpers.hpp"
#include "tests/paths.hpp"

// What the program, the plan, the folder, the manifest and the documentation say of recipes is what the
// recipes say of themselves.

namespace aloft {
namespace {

using cli_tests::operator+;
using cli_tests::Words;
using nlohmann::json;

const Words kModel{"--arch", "llama", "--layers", "2", "--heads", "4", "--d-model", "48", "--context", "32"};

Words names_of(const json& rows) {
  Words out;
  for (const auto& row : rows) out.push_back(row["name"]);
  return out;
}

Words stages_of(const Recipe& recipe) {
  Words out;
  for (const Stage& s : recipe.stages) out.emplace_back(s.name);
  return out;
}

TEST(RecipeContract, EachIsWhole) {
  std::set<std::string_view> names;
  for (const Recipe& r : all_recipes()) {
    EXPECT_TRUE(names.insert(r.name).second) << r.name << " is there twice";
    EXPECT_FALSE(r.summary.empty()) << r.name;
    EXPECT_EQ(r.summary.find('\n'), std::string_view::npos) << r.name;
    EXPECT_NE(r.plan, nullptr) << r.name;
    EXPECT_NE(r.design, nullptr) << r.name;
    EXPECT_EQ(&find_recipe(r.name), &r);
    EXPECT_FALSE(r.stages.empty()) << r.name;
  }
  EXPECT_THROW((void)find_recipe("sprad"), UsageError);
}

class RecipeRuns : public testing::TestWithParam<std::string> {};

// One table: what is planned is what runs and what the manifest lists, and the folder holds those stages'
// files.
TEST_P(RecipeRuns, PlanFolderAndManifestHaveTheSameStages) {
  const Recipe& recipe = find_recipe(GetParam());
  const cli_tests::Folder folder;
  const std::string corpus = folder.file("text", cli_tests::sample_text(4000, 3));
  Words what = kModel + Words{"--recipe", GetParam(), "--lags", "2", "--quiet"};
  if (recipe.reads_corpus()) what = what + Words{"--corpus", corpus, "--vocab-size", "150"};
  const auto planned = cli_tests::run(Words{"plan", "--json"} + what);
  ASSERT_EQ(planned.code, 0) << planned;
  const auto made =
      cli_tests::run(Words{"init", "--json", "--save-heads", "--output", folder / "run"} + what);
  ASSERT_EQ(made.code, 0) << made;
  const json manifest = json::parse(cli_tests::content(folder.path / "run/manifest.json"));

  EXPECT_EQ(names_of(json::parse(planned.out)["stages"]), stages_of(recipe));
  EXPECT_EQ(names_of(manifest["manifest"]["stages"]), stages_of(recipe));
  std::set<std::string> may{"manifest.json"}, lies;
  for (const Stage& s : recipe.stages)
    for (const std::string& file : files_of(s)) may.insert(file);
  for (const auto& entry : std::filesystem::directory_iterator(folder.path / "run"))
    lies.insert(entry.path().filename());
  EXPECT_EQ(lies, may);
  std::set<std::string> listed{"manifest.json"};
  for (const auto& [name, what_of_it] : manifest["manifest"]["files"].items()) listed.insert(name);
  EXPECT_EQ(listed, lies);
}

Words every_recipe() {
  Words out;
  for (const Recipe& r : all_recipes()) out.emplace_back(r.name);
  return out;
}
INSTANTIATE_TEST_SUITE_P(Each, RecipeRuns, testing::ValuesIn(every_recipe()), [](const auto& which) {
  std::string out = which.param;
  std::erase(out, '-');
  return out;
});

TEST(RecipeContract, TheFolderRemovesWhatAnyStageMayWrite) {
  const auto& names = RunFolder::file_names();
  for (const Recipe& r : all_recipes())
    for (const Stage& s : r.stages)
      for (const std::string& file : files_of(s))
        EXPECT_NE(std::find(names.begin(), names.end(), file), names.end()) << file;
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
}

TEST(RecipeContract, HelpListsTheRecipesAndWhichFlagIsForWhich) {
  const std::string help = cli_tests::run({"init", "--help"}).out;
  for (const Recipe& r : all_recipes()) {
    EXPECT_NE(help.find(std::string(r.name) + " "), std::string::npos) << r.name;
    EXPECT_NE(help.find(r.summary), std::string::npos) << r.name;
    for (const std::string_view flag : r.flags)
      EXPECT_NE(help.find("--" + std::string(flag)), std::string::npos) << flag;
  }
}

// Every flag of every other recipe is refused in one line that says whose it is.
TEST(RecipeContract, FlagsOfAnotherRecipeAreRefused) {
  const std::set<std::string_view> without_value{"no-embedding", "induction", "zero-outputs"};
  int refused = 0;
  for (const std::string name : {"random"}) {  // which has none of its own
    const Recipe& recipe = find_recipe(name);
    std::set<std::string_view> foreign;
    for (const Recipe& other : all_recipes())
      for (const std::string_view flag : other.flags)
        if (std::find(recipe.flags.begin(), recipe.flags.end(), flag) == recipe.flags.end())
          foreign.insert(flag);
    for (const std::string_view flag : foreign) {
      const std::map<std::string_view, std::string> words{
          {"expand", "temper"}, {"directions", "haar"},    {"sign", "paper"},        {"estimator", "tucker"},
          {"control", "none"},  {"background", "mimetic"}, {"embedding", "ppmi-svd"}};
      Words command = Words{"init", "--output", "/nowhere/run", "--recipe", name} + kModel;
      command.push_back("--" + std::string(flag));
      if (!without_value.contains(flag))
        command.push_back(words.contains(flag) ? words.at(flag) : std::string("1"));
      const cli_tests::Outcome o = cli_tests::run(command);
      EXPECT_EQ(o.code, 2) << flag << "\n" << o;
      EXPECT_NE(o.err.find("--" + std::string(flag) + " is not for recipe " + name), std::string::npos) << o;
      ++refused;
    }
  }
  EXPECT_GT(refused, 25);
}

TEST(RecipeContract, TheDocumentationHasTheSameTable) {
  const std::string text = read_file(source_folder() + "/docs/recipes.md");
  std::string table = "<!-- recipes:begin -->\n| recipe | what it is |\n|---|---|\n";
  for (const Recipe& r : all_recipes())
    table += "| `" + std::string(r.name) + "` | " + std::string(r.summary) + " |\n";
  EXPECT_NE(text.find(table + "<!-- recipes:end -->"), std::string::npos) << "docs/recipes.md should have\n"
                                                                          << table;
}

// A config's flags: of its own recipe, one value where there is one, and a manifest's for `plan` as well.
TEST(RecipeContract, ConfigsOfAnotherRecipe) {
  const cli_tests::Folder folder;
  const auto init = [&](const std::string& output, const Words& more) {
    return cli_tests::run(Words{"init", "--quiet", "--output", folder / output} + kModel + more);
  };
  const Words spread{"--config",
                     folder.file("spread.yaml", "recipe: spread\nexpand: temper\nstrength: 2\nseed: 3\n")};
  ASSERT_EQ(init("overruled", spread + Words{"--recipe", "random"}).code, 0);
  ASSERT_EQ(init("random", {"--recipe", "random", "--seed", "3"}).code, 0);
  EXPECT_EQ(cli_tests::content(folder.path / "overruled/init.safetensors") ==
                cli_tests::content(folder.path / "random/init.safetensors"),
            true);
  const auto own = init("own", {"--config", folder.file("own.yaml", "recipe: random\nexpand: temper\n")});
  EXPECT_EQ(own.code, 2) << own;
  const auto list = init("list", {"--config", folder.file("list.yaml", "recipe: random\nseed: [1, 2]\n")});
  EXPECT_EQ(list.code, 3) << list;
  EXPECT_NE(list.err.find("'seed' takes one value"), std::string::npos) << list;

  // as an earlier version wrote it: every flag, whosever it is
  json old = json::parse(cli_tests::content(folder.path / "random/manifest.json"));
  old["expand"] = "pareto";
  old["sharpness"] = 15;
  const Words repeat{"--config", folder.file("old.json", old.dump())};
  const auto again = cli_tests::run(Words{"init", "--quiet", "--output", folder / "again"} + repeat);
  ASSERT_EQ(again.code, 0) << again;
  EXPECT_EQ(cli_tests::content(folder.path / "again/init.safetensors") ==
                cli_tests::content(folder.path / "random/init.safetensors"),
            true);
  const auto planned = cli_tests::run(Words{"plan"} + repeat);
  EXPECT_EQ(planned.code, 0) << planned;
}

}  // namespace
}  // namespace aloft
