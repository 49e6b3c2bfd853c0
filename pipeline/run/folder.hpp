#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "host/tidy_up.hpp"
#include "pipeline/run/folder_lock.hpp"

namespace aloft {

/// The folder of one run. Complete: it has a manifest.json. Interrupted: it has a state file and no manifest.
/// One process at a time (a lock file).
///
/// A run that replaces another one (`force`) is made in a folder of its own inside, `.aloft-new`, with the
/// manifest last, and moved into place then (replace_run.hpp). Until that moment the former run is whole,
/// whatever happens to the new one, which the same settings resume. A process killed while files are moved
/// leaves the rest to the next.
class RunFolder {
 public:
  /// Creates the folder, or enters it: a complete run (or any file this run would write) is refused without
  /// `force`, as is an interrupted run of other settings. Nothing but a lock is written before begin().
  /// `settings`: a hash of the run's settings. Throws UsageError when refused or locked, InputError when not
  /// writable.
  RunFolder(std::string path, const std::string& settings, bool force);
  /// A run that failed before its first finished stage leaves nothing behind.
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  /// To be called once the request is known to be sound and before anything is written.
  void begin();
  /// Throws UsageError when one of `inputs`, files that this run reads, is one that `force` would replace.
  void expect_kept(const std::vector<std::string>& inputs) const;

  /// Where this run writes: the folder, or one in it until it is complete.
  [[nodiscard]] const std::string& path() const { return work_; }
  [[nodiscard]] std::string file(const std::string& name) const;  ///< in path()
  [[nodiscard]] const std::string& output() const { return path_; }
  /// Everything a run may write besides its manifest: what any recipe's stages may. --force replaces these
  /// and nothing else.
  [[nodiscard]] static const std::vector<std::string>& file_names();
  /// These and the manifest, of a run whose output is `folder`.
  [[nodiscard]] static std::vector<std::string> files_in(const std::string& folder);
  [[nodiscard]] bool resuming() const { return resuming_; }

  /// A remembered fact of this run ("counts.inputs" -> hash): kept across interruptions, gone when complete.
  [[nodiscard]] std::optional<std::string> recall(const std::string& key) const;
  void remember(const std::map<std::string, std::string>& facts);  ///< all of them or none
  /// Writes the manifest, which makes the run complete, removes the state, and puts the run in the place of
  /// the one that it replaces.
  void complete(const std::string& manifest_text);

 private:
  [[nodiscard]] std::string replacement() const;
  void finish_what_was_begun() const;
  void choose_where_to_work(bool force);
  [[nodiscard]] bool has_files(const std::string& folder) const;
  void leave_nothing_useless();
  void end() noexcept;

  std::string path_, settings_;
  std::optional<FolderLock> lock_;
  std::string work_;       ///< path_, or replacement()
  bool resuming_ = false;  ///< what is in work_ is this run's
  bool begun_ = false;     ///< ... or has been made so
  bool complete_ = false;
  std::optional<TidyUp> tidy_up_;
};

}  // namespace aloft
