#include "pipeline/run/folder_lock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "host/error.hpp"
#include "host/interrupt.hpp"

namespace aloft {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLock = ".aloft-lock";
constexpr int kAttempts = 1000;  // others may come and go meanwhile

[[noreturn]] void fail(const std::string& path, const char* doing) {
  const int code = errno;
  const std::string what = fmt::format("{}: cannot {}: {}", path, doing, std::strerror(code));
  if (code == ENOSPC || code == EDQUOT || code == ENOMEM) throw ResourceError(what);
  throw InputError(what);
}

}  // namespace

FolderLock::FolderLock(const std::string& folder) : path_((fs::path(folder) / kLock).string()) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    check_interrupt();
    const KeepWhole whole;
    made_.make(folder);
    const int descriptor = ::open(path_.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (descriptor < 0 && (errno == EINTR || errno == ENOENT)) continue;  // ENOENT: the folder is gone again
    if (descriptor < 0) fail(path_, "write in this folder");
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) {
      if (is_at_its_path(descriptor)) {
        descriptor_ = descriptor;
        return;
      }
      ::close(descriptor);  // who had it has removed it: a third process may hold the one that is there now
      continue;
    }
    const int code = errno;
    ::close(descriptor);
    errno = code;
    if (code == EWOULDBLOCK) throw UsageError(path_ + ": another aloft is working in this folder");
    if (code != EINTR) fail(path_, "lock (does this file system have locks? give --output another place)");
  }
  throw UsageError(path_ + ": other processes keep this folder locked");
}

void FolderLock::MadeFolders::make(const std::string& folder) {
  if (fs::is_directory(folder)) return;
  if (fs::exists(folder)) throw UsageError(folder + ": exists and is no folder; give --output another name");
  std::vector<std::string> missing;
  std::error_code failed;
  for (fs::path at = fs::absolute(folder).lexically_normal();
       !fs::exists(at, failed) && at.has_relative_path(); at = at.parent_path())
    if (at.has_filename()) missing.push_back(at.string());
  std::reverse(missing.begin(), missing.end());
  paths = std::move(missing);
  fs::create_directories(folder, failed);
  if (failed) {
    errno = failed.value();
    fail(folder, "create this folder");
  }
}

bool FolderLock::is_at_its_path(int descriptor) const {
  struct stat here {
  }, there{};
  return ::fstat(descriptor, &here) == 0 && ::lstat(path_.c_str(), &there) == 0 &&
         here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

void FolderLock::MadeFolders::remove_empty() noexcept {
  for (; !paths.empty(); paths.pop_back())
    if (::rmdir(paths.back().c_str()) != 0) return;  // something is in it
}

FolderLock::~FolderLock() { release(); }

void FolderLock::release() noexcept {
  const KeepWhole whole;
  if (descriptor_ >= 0) {
    ::unlink(path_.c_str());  // held, so nobody else has one there
    ::close(descriptor_);
    descriptor_ = -1;
  }
  made_.remove_empty();
}

}  // namespace aloft
