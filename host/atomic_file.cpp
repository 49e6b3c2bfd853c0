#include "host/atomic_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <deque>
#include <filesystem>
#include <list>
#include <mutex>

#include "host/error.hpp"
#include "host/input_file.hpp"
#include "host/interrupt.hpp"
#include "host/tidy_up.hpp"

namespace aloft {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMark = ".aloft-partial-";
constexpr std::size_t kDigits = 16;  // of a random number of 64 bits
constexpr int kAttempts = 100;       // to find a name that nobody has
constexpr std::size_t kBlock = 1 << 16;

[[noreturn]] void fail(const std::string& path, const char* doing) {
  const int code = errno;
  std::string what = fmt::format("{}: cannot {}: {}", path, doing, std::strerror(code));
  if (code == EFBIG) what += " (`ulimit -f`, or the largest that this file system holds)";
  if (code == ENOSPC || code == EDQUOT || code == EFBIG || code == ENOMEM) throw ResourceError(what);
  throw InputError(what);
}

std::string folder_of(const std::string& path) {
  const fs::path folder = fs::path(path).parent_path();
  return folder.empty() ? "." : folder.string();
}

/// One that nobody can foresee, so that nothing can be planted there, and two machines never have the same.
std::string temporary_name(const std::string& path) {
  std::uint64_t random = 0;
  while (::getrandom(&random, sizeof random, 0) != sizeof random)
    if (errno != EINTR) fail(path, "get a random number");
  const fs::path target(path);
  return (target.parent_path() / fmt::format(".{}{}{:016x}", target.filename().string(), kMark, random))
      .string();
}

/// The temporary files of this process, which go too when a signal ends it.
class Temporaries {
 public:
  void add(const std::string& path) {
    const std::lock_guard lock(mutex_);
    all_.emplace_back(path);
  }
  void forget(const std::string& path) noexcept {
    const std::lock_guard lock(mutex_);
    const auto at = std::find_if(all_.begin(), all_.end(), [&](const One& one) { return one.path == path; });
    if (at != all_.end()) all_.erase(at);
  }
  static Temporaries& of_process() {
    static auto* const only = new Temporaries;  // never destroyed: a signal may come last
    return *only;
  }

 private:
  struct One {
    explicit One(std::string name) : path(std::move(name)) {}
    std::string path;
    TidyUp tidy_up{this, [](void* one) { ::unlink(static_cast<One*>(one)->path.c_str()); }};
  };
  std::mutex mutex_;
  std::list<One> all_;
};

/// Whether `file` is the temporary name of one of `names`. Versions up to 0.1 ended it in the process'
/// number.
bool is_temporary(std::string_view file, const std::vector<std::string>& names) {
  const std::size_t mark = file.rfind(kMark);
  if (mark == std::string_view::npos || file.front() != '.') return false;
  const std::string_view number = file.substr(mark + kMark.size()), name = file.substr(1, mark - 1);
  const bool random = number.size() == kDigits && number.find_first_not_of("0123456789abcdef") == number.npos;
  const bool process =
      !number.empty() && number.size() <= 10 && number.find_first_not_of("0123456789") == number.npos;
  return (random || process) && std::find(names.begin(), names.end(), name) != names.end();
}

/// Whether there is something that a file of this name would replace. A folder is not replaced.
bool exists(const std::string& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) return false;
  if (S_ISDIR(st.st_mode)) throw InputError(path + ": is a folder; give another name");
  return true;
}

/// A folder whose names are to be made durable. It is opened before they change: from then on little can
/// fail.
class OpenFolder {
 public:
  explicit OpenFolder(std::string path)
      : path_(std::move(path)), file_(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (file_.get() < 0 && errno != EACCES) fail(path_, "open");  // EACCES: may be written in, not listed
  }
  void sync() const {
    if (file_.get() >= 0 && ::fsync(file_.get()) != 0 && errno != EINVAL && errno != ENOTSUP)
      fail(path_, "flush");
  }

 private:
  std::string path_;
  Descriptor file_;
};

/// What commit_together() has done with one file so far.
struct Replacement {
  const std::string& from;
  const std::string& to;
  std::string aside;  ///< where what was there goes; "": nothing was
  bool is_aside = false, placed = false;

  void undo() const noexcept {
    if (is_aside) {
      ::rename(aside.c_str(), to.c_str());
    } else if (placed) {
      ::unlink(to.c_str());
    }
  }
};

}  // namespace

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)), folder_(folder_of(path_)) {
  struct stat there {};
  if (::stat(path_.c_str(), &there) == 0 && !S_ISREG(there.st_mode))  // absent: opening says what is wrong
    throw InputError(path_ + ": is not a regular file, and would be replaced by one; give another name");
  make_temporary();
}

void AtomicFile::make_temporary() {
  const KeepWhole whole;
  Temporaries& temporaries = Temporaries::of_process();
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (attempt > 0) temporaries.forget(temporary_);
    temporary_ = temporary_name(path_);
    temporaries.add(temporary_);
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && (errno == EEXIST || errno == EINTR)) continue;
    if (descriptor_ < 0) break;
    // Another process may have taken it for a leftover before it was locked. (A file system without locks
    // keeps everything but leftovers of the dead apart from the living: then none are removed.)
    struct stat st {};
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(descriptor_);
      descriptor_ = -1;
      continue;
    }
    if (::fstat(descriptor_, &st) != 0 || st.st_nlink > 0) return;
    ::close(descriptor_);
    descriptor_ = -1;
    errno = EEXIST;
  }
  const int code = errno;
  temporaries.forget(temporary_);
  errno = code;
  fail(path_, "create");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;  // committed
  const KeepWhole whole;
  ::unlink(temporary_.c_str());
  ::close(descriptor_);
  Temporaries::of_process().forget(temporary_);
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  const char* p = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::write(descriptor_, p, std::min(bytes, std::size_t{1} << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(path_, "write");
    p += n;
    bytes -= static_cast<std::size_t>(n);
  }
}

void AtomicFile::commit_together(const std::vector<AtomicFile*>& files) {
  for (AtomicFile* f : files)
    if (::fsync(f->descriptor_) != 0 && errno != EINVAL) fail(f->path_, "flush");
  std::deque<OpenFolder> folders;
  for (const AtomicFile* f : files) folders.emplace_back(f->folder_);
  const KeepWhole whole;
  std::vector<Replacement> done;
  for (AtomicFile* f : files)
    done.push_back(
        {f->temporary_, f->path_, files.size() > 1 && exists(f->path_) ? temporary_name(f->path_) : ""});
  try {
    for (Replacement& r : done) {
      if (r.aside.empty()) continue;
      if (::rename(r.to.c_str(), r.aside.c_str()) != 0) fail(r.to, "set aside");
      r.is_aside = true;
    }
    for (Replacement& r : done) {
      if (::rename(r.from.c_str(), r.to.c_str()) != 0) fail(r.to, "rename into place");
      r.placed = true;
    }
  } catch (...) {
    for (auto r = done.rbegin(); r != done.rend(); ++r) r->undo();
    throw;
  }
  for (const Replacement& r : done)
    if (r.is_aside) ::unlink(r.aside.c_str());
  for (AtomicFile* f : files) {
    ::close(f->descriptor_);
    f->descriptor_ = -1;
    Temporaries::of_process().forget(f->temporary_);
  }
  for (const OpenFolder& folder : folders) folder.sync();
}

void write_file(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void expect_can_be_written(const std::string& path) { const AtomicFile probe(path); }

void remove_leftovers(const std::string& folder, const std::vector<std::string>& names) {
  std::vector<std::string> found;
  try {  // (the iterator that reports by error_code ends the program when memory runs out)
    for (const auto& entry : fs::directory_iterator(folder))
      if (is_temporary(entry.path().filename().string(), names)) found.push_back(entry.path().string());
  } catch (const fs::filesystem_error&) {  // what cannot be listed stays
  }
  for (const std::string& path : found) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat st {};
    if (file.get() < 0 || ::fstat(file.get(), &st) != 0 || !S_ISREG(st.st_mode)) continue;
    if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) ::unlink(path.c_str());
  }
}

void remove_leftovers(const std::string& path) {
  remove_leftovers(folder_of(path), {fs::path(path).filename().string()});
}

void sync_folder(const std::string& folder) { OpenFolder(folder).sync(); }

std::string read_file(const std::string& path, std::uint64_t max_bytes) {
  int descriptor = -1;
  while ((descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC)) < 0) {
    if (errno != EINTR) fail(path, "read");
    check_interrupt();  // a FIFO without a writer
  }
  const Descriptor file(descriptor);
  struct stat st {};
  if (::fstat(file.get(), &st) == 0 && S_ISDIR(st.st_mode))
    throw InputError(path + ": is a folder, a file is needed");
  std::string text;
  char block[kBlock];
  for (;;) {
    const ssize_t n = ::read(file.get(), block, sizeof block);
    if (n < 0) {
      if (errno != EINTR) fail(path, "read");
      check_interrupt();
      continue;
    }
    if (n == 0) return text;
    text.append(block, static_cast<std::size_t>(n));
    if (text.size() > max_bytes)
      throw InputError(fmt::format("{}: larger than the {} bytes expected at most", path, max_bytes));
  }
}

}  // namespace aloft
