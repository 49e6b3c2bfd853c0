#pragma once
#include <string>
#include <vector>

#include "host/tidy_up.hpp"

namespace aloft {

/// A folder locked for one process, for as long as this lives. Folders on the way to it that were not there
/// are made, and go again with it unless something was put into them.
class FolderLock {
 public:
  /// Throws UsageError when another process holds it, InputError when the folder cannot be made, written or
  /// locked.
  explicit FolderLock(const std::string& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  /// A folder with those on the way to it; destroyed, the ones that were made and are empty go again.
  struct MadeFolders {
    std::vector<std::string> paths;  ///< the outermost first
    void make(const std::string& folder);
    void remove_empty() noexcept;
    ~MadeFolders() { remove_empty(); }
  };
  [[nodiscard]] bool is_at_its_path(int descriptor) const;
  void release() noexcept;

  std::string path_;
  MadeFolders made_;
  int descriptor_ = -1;  // -1: it is not held
  TidyUp tidy_up_{this, [](void* lock) { static_cast<FolderLock*>(lock)->release(); }};
};

}  // namespace aloft
