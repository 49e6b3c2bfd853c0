#include "tools/aloft/config_file.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "host/atomic_file.hpp"
#include "host/error.hpp"
#include "host/json_build.hpp"
#include "host/json_text.hpp"
#include "host/printable.hpp"
#include "host/utf8.hpp"
#include "tools/aloft/flag_kinds.hpp"
#include "tools/aloft/options.hpp"

namespace aloft {
namespace {

// A flag on the command line also stands in for these keys of a config: another corpus has another hash.
bool superseded(const std::string& key, const CLI::App& command) {
  const auto given = [&](const char* flag) {
    const CLI::Option* option = find_option(command, flag);
    return option != nullptr && option->count() > 0;
  };
  const bool other_corpus = given("--corpus") || given("--counts");
  return other_corpus && (key == "corpus" || key == "counts" || key == "corpus-hash");
}

// The YAML library takes some 400 bytes for a value, and searches a mapping from its beginning: a config that
// lists a hundred thousand files fits, one that is there to do harm does not.
constexpr std::uint64_t kLargestConfig = std::uint64_t{4} << 20;
constexpr std::size_t kMostValues = 200'000, kMostKeys = 4096;
constexpr int kDeepestConfig = 64;

[[noreturn]] void fail(const std::string& path, const YAML::Mark& at, const std::string& what) {
  throw InputError(at.is_null() ? fmt::format("{}: {}", path, what)
                                : fmt::format("{}:{}: {}", path, at.line + 1, what));
}

/// Sees a config before it becomes a tree, and refuses what is too deep, too much, or says more than is
/// there.
class Bounds final : public YAML::EventHandler {
 public:
  explicit Bounds(const std::string& path) : path_(path) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& at, YAML::anchor_t) override { value(at); }
  void OnAlias(const YAML::Mark& at, YAML::anchor_t) override {
    fail(path_, at, "an alias (*name) is not read in a config; write the value again");
  }
  void OnScalar(const YAML::Mark& at, const std::string&, YAML::anchor_t, const std::string&) override {
    value(at);
  }
  void OnSequenceStart(const YAML::Mark& at, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    enter(at, 0);
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapStart(const YAML::Mark& at, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    enter(at, 2 * kMostKeys);
  }
  void OnMapEnd() override { open_.pop_back(); }

 private:
  struct Open {
    std::size_t values = 0, most = 0;  ///< most 0: no limit of its own
  };
  void value(const YAML::Mark& at) {
    if (++values_ > kMostValues) fail(path_, at, fmt::format("a config has at most {} values", kMostValues));
    if (open_.empty()) return;
    if (++open_.back().values > open_.back().most && open_.back().most != 0)
      fail(path_, at, fmt::format("a mapping in a config has at most {} keys", kMostKeys));
  }
  void enter(const YAML::Mark& at, std::size_t most) {
    value(at);
    open_.push_back({0, most});
    if (open_.size() > kDeepestConfig)
      fail(path_, at, fmt::format("a config is nested at most {} levels deep", kDeepestConfig));
  }

  const std::string& path_;
  std::vector<Open> open_;
  std::size_t values_ = 0;
};

YAML::Node load_yaml(const std::string& path) {
  const std::string text = read_file(path, kLargestConfig);
  try {
    std::istringstream in(text);
    YAML::Parser parser(in);
    Bounds bounds(path);
    if (parser.HandleNextDocument(bounds) && parser.HandleNextDocument(bounds))
      throw InputError(path + ": holds several documents; a config is one");
    return YAML::Load(text);
  } catch (const YAML::Exception& e) {
    fail(path, e.mark, "not a YAML config: " + e.msg);
  }
}

std::string scalar(const std::string& path, const YAML::Node& node, const std::string& key) {
  if (!node.IsScalar())
    fail(path, node.Mark(), fmt::format("'{}' needs a plain value or a list of them", key));
  return node.Scalar();
}

void add_words(const std::string& path, const std::string& key, const YAML::Node& value,
               const CLI::Option& option, std::vector<std::string>& words) {
  if (option.get_items_expected_max() == 0) {  // a flag
    bool on = false;
    if (!value.IsScalar() || !YAML::convert<bool>::decode(value, on))
      fail(path, value.Mark(), fmt::format("'{}' is true or false", key));
    if (on) words.push_back("--" + key);
    return;
  }
  if (!value.IsSequence()) {
    words.push_back("--" + key + "=" + scalar(path, value, key));
    return;
  }
  if (option.get_items_expected_max() == 1)
    fail(path, value.Mark(), fmt::format("'{}' takes one value, here is a list", key));
  for (const YAML::Node& item : value) words.push_back("--" + key + "=" + scalar(path, item, key));
}

bool among(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Flags in a config that its reader means for another recipe: of the config's own where the command line
/// asks for a different one, and in manifests (those of earlier versions held every flag).
std::vector<std::string> foreign_keys(const YAML::Node& root, const CLI::App& command) {
  const CLI::Option* asked = find_option(command, "--recipe");
  const bool overruled = asked != nullptr && asked->count() > 0;
  if (asked == nullptr || (!overruled && !root["manifest"])) return {};
  const auto name = overruled ? asked->as<std::string>() : root["recipe"].as<std::string>("");
  for (const Recipe& recipe : all_recipes())
    if (recipe.name == name) return foreign_flags(recipe);
  return {};
}

}  // namespace

std::vector<std::string> config_words(const std::string& path, const CLI::App& command) {
  const YAML::Node root = load_yaml(path);
  if (!root.IsMap()) fail(path, root.Mark(), "a config is a mapping of flags to values");
  std::vector<std::string> words;
  std::set<std::string> seen;
  const bool manifest = root["manifest"].IsDefined();
  const std::vector<std::string> foreign = foreign_keys(root, command);
  for (const auto& entry : root) {
    const std::string key = scalar(path, entry.first, "a key");
    if (!seen.insert(key).second) fail(path, entry.first.Mark(), fmt::format("'{}' is here twice", key));
    if (key == "manifest") continue;
    const CLI::Option* option = find_option(command, "--" + key);
    if (option == nullptr && manifest) continue;  // of init, which wrote it
    if (option == nullptr || key == "config" || key == "help")
      fail(path, entry.first.Mark(),
           fmt::format("unknown key '{}' (see `aloft {} --help`)", printable(key), command.get_name()));
    if (entry.second.IsNull()) fail(path, entry.first.Mark(), fmt::format("'{}' has no value", key));
    if (option->count() == 0 && !superseded(key, command) && !among(foreign, key))
      add_words(path, key, entry.second, *option, words);
  }
  return words;
}

namespace {

nlohmann::ordered_json typed(const std::string& text) {
  const auto value = try_parse_json<nlohmann::ordered_json>(text);
  return value && value->is_number() ? *value : nlohmann::ordered_json(text);
}

}  // namespace

std::string settings_json(const CLI::App& command, const std::vector<std::string>& left_out,
                          const std::vector<std::string>& paths) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_lnames().empty()) continue;
    const std::string name = option->get_lnames().front();
    if (name == "help" || among(left_out, name)) continue;
    if (option->get_items_expected_max() == 0) {
      if (option->count() > 0) out[name] = true;
      continue;
    }
    std::vector<std::string> values = option->results();
    if (values.empty() && !option->get_default_str().empty()) values = {option->get_default_str()};
    if (values.empty()) continue;
    if (among(paths, name))
      for (std::string& v : values)
        if (std::filesystem::exists(v)) v = std::filesystem::absolute(v).lexically_normal().string();
    for (const std::string& v : values)
      if (valid_utf8_prefix(v) != v.size())
        throw UsageError(fmt::format(
            "--{}: {} is not UTF-8, so the run's manifest could not name it; rename it", name, v));
    if (option->get_type_name().starts_with("TEXT")) {  // whatever it looks like
      out[name] = values.back();
    } else if (option->get_items_expected_max() == 1) {
      out[name] = typed(values.back());
    } else {
      for (const std::string& v : values) array_in(out, name).push_back(typed(v));
    }
  }
  return out.dump(1);
}

}  // namespace aloft
