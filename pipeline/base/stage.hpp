#pragma once
#include <array>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "pipeline/base/artifact_file.hpp"
#include "pipeline/base/context.hpp"

// A step of a run as data, and its result as a value with a key. Progress, plan, manifest, the folder's file
// list and resuming all read the same Stage; recipes/recipe.hpp says which stages a run has.

namespace aloft {

struct Stage {
  std::string_view name;  ///< in progress, plan and manifest
  int version = 1;        ///< of its arithmetic: a new one never takes an older one's result for its own
  std::string_view
      artifact{};  ///< kind of the result that is kept, in artifact + ".safetensors"; "": none is
  std::array<std::string_view, 2> more_files{};  ///< what else it may write; "": nothing
};

/// A stage's result and what it was made from: a hash of the stage's name and version, the keys of its inputs
/// and all its parameters.
template <class T>
struct Keyed {
  T value;
  std::string key;
};

/// parameters: JSON text that holds every one of them.
[[nodiscard]] std::string stage_key(const Stage& stage, std::initializer_list<std::string_view> inputs,
                                    std::string_view parameters);

/// Of a stage that has none beside its inputs.
struct NoParameters {};
[[nodiscard]] inline std::string key_json(const NoParameters&) { return "{}"; }

/// Names of what a stage may write.
[[nodiscard]] std::vector<std::string> files_of(const Stage& stage);

/// Runs the stages of one folder: times and traces them, and takes a result that lies there already.
class Stages {
 public:
  /// folder: where artifacts are; "" keeps none.
  Stages(Context& ctx, std::string folder) : ctx_(ctx), folder_(std::move(folder)) {}

  /// The result of `make`, or the one that the folder holds under this key. `parameters` has key_json(),
  /// which names all of its fields; `make` may depend on nothing else but the inputs.
  template <class T, class Parameters, class Make>
  [[nodiscard]] Keyed<T> stage(const Stage& s, std::initializer_list<std::string_view> inputs,
                               const Parameters& parameters, const Make& make) {
    std::string key = stage_key(s, inputs, key_json(parameters));
    if (auto kept = recall<T>(s, key)) return {std::move(*kept), std::move(key)};
    const auto timed = ctx_.scope(std::string(s.name));
    T value = make();
    keep(s, value, key);
    return {std::move(value), std::move(key)};
  }

  /// A stage that leaves files, or nothing: it runs every time.
  template <class Make>
  auto run(const Stage& s, const Make& make) {
    const auto timed = ctx_.scope(std::string(s.name));
    return make();
  }

  /// Whether the folder has an earlier result of this stage that was made from the same things.
  [[nodiscard]] bool may_use_again(const Stage& s, const std::string& key) const;
  /// That result.
  template <class T>
  [[nodiscard]] std::optional<T> recall(const Stage& s, const std::string& key) {
    if (!may_use_again(s, key)) return std::nullopt;
    auto kept = load<T>(ctx_.device(), artifact_path(s), key);
    if (kept) resumed(s);
    return kept;
  }
  template <class T>
  void keep(const Stage& s, const T& value, const std::string& key) {
    if (!folder_.empty()) save(artifact_path(s), value, key);
  }
  [[nodiscard]] std::string path(std::string_view file) const;

 private:
  [[nodiscard]] std::string artifact_path(const Stage& s) const;
  void resumed(const Stage& s);

  Context& ctx_;
  std::string folder_;
};

}  // namespace aloft
