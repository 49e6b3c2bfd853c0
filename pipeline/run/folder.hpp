#pragma once
#include <optional>
#include <string>
#include <vector>

namespace aloft {

/// The folder of one run. Complete: it has a manifest.json. Interrupted: it has a state file and no manifest.
/// One process at a time (a lock file).
class RunFolder {
 public:
  /// Creates the folder, or enters it: a complete run (or any file this run would write) is refused without
  /// `force`, as is an interrupted run of other settings; with `force` begin() removes what this program
  /// wrote there. `settings`: a hash of the run's settings. Throws UsageError when refused or locked,
  /// InputError when not writable.
  RunFolder(std::string path, const std::string& settings, bool force);
  /// A run that failed before its first finished stage leaves nothing behind.
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  /// To be called once the request is known to be sound and before anything is written: until then a run that
  /// `force` replaces is as it was.
  void begin();
  /// Throws UsageError when one of `inputs`, files that this run reads, is one that `force` would remove.
  void expect_kept(const std::vector<std::string>& inputs) const;

  [[nodiscard]] std::string file(const std::string& name) const;
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Everything a run may write besides its manifest: what any recipe's stages may. --force removes these and
  /// nothing else.
  [[nodiscard]] static const std::vector<std::string>& file_names();
  [[nodiscard]] bool resuming() const { return resuming_; }

  /// A remembered fact of this run ("counts.inputs" -> hash): kept across interruptions, gone when complete.
  [[nodiscard]] std::optional<std::string> recall(const std::string& key) const;
  void remember(const std::string& key, const std::string& value);
  /// Writes the manifest, which makes the run complete, and removes the state.
  void complete(const std::string& manifest_text);

 private:
  /// Holds `path` locked for as long as it lives.
  class Lock {
   public:
    explicit Lock(std::string path);
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    std::string path_;
    int descriptor_ = -1;
  };
  [[nodiscard]] std::string state_path() const;

  std::string path_, settings_;
  std::optional<Lock> lock_;
  bool resuming_ = false;
  bool replaces_ = false;  ///< what is in the folder belongs to the run that begin() removes
  bool created_ = false;   ///< the folder is this object's making
  bool worth_keeping_ = false;
};

}  // namespace aloft
