#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace aloft {

/// An open file; closed with the last owner.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

/// What the passes over a file have read: whole ones the same bytes, and perhaps a string that is watched
/// for.
class ContentCheck {
 public:
  /// Throws InputError naming the file when this whole pass read other bytes than the first one.
  void expect_same(const std::string& name, const std::string& hash);
  void watch_for(std::string text) { watched_ = std::move(text); }  ///< before the first pass
  [[nodiscard]] bool seen() const { return seen_; }
  /// The next bytes of a pass; `tail` is that pass' own, empty at first.
  void look(std::string_view bytes, std::string& tail);

 private:
  std::mutex mutex_;
  std::string hash_;
  std::string watched_;
  std::atomic<bool> seen_{false};
};

class Hash;

/// One pass over an InputFile's bytes. Checks for interrupts at every read.
class InputStream {
 public:
  ~InputStream();
  InputStream(const InputStream&) = delete;
  InputStream& operator=(const InputStream&) = delete;
  /// Fills `out` unless the end comes first; returns the bytes read, 0 only at the end. Throws InputError
  /// when reading fails, a file has shrunk since it was first seen, or this pass, at its end, has read other
  /// bytes than an earlier one; Interrupted after a signal or a cancellation.
  [[nodiscard]] std::size_t read(std::span<char> out);
  [[nodiscard]] std::uint64_t offset() const { return offset_; }  ///< bytes read so far
  [[nodiscard]] const std::string& name() const { return name_; }
  /// From now on a read ends with Interrupted soon after `*cancelled` becomes true, also one that waits for a
  /// pipe.
  void watch(const std::atomic<bool>* cancelled) { cancelled_ = cancelled; }

 private:
  friend class InputFile;
  InputStream();
  [[nodiscard]] std::size_t read_some(char* out, std::size_t bytes);

  std::string name_;
  std::shared_ptr<Descriptor> file_;
  bool seekable_ = false;
  std::uint64_t start_ = 0, size_ = 0;  // seekable: where the content lies in the file
  std::string prefix_;                  // pipe: bytes already taken from it
  std::uint64_t offset_ = 0;
  const std::atomic<bool>* cancelled_ = nullptr;
  std::unique_ptr<Hash> hash_;           // of the bytes read; null once compared, or when some were skipped
  std::shared_ptr<ContentCheck> check_;  // the file's
  std::string tail_;                     // the last bytes read, as far as check_ needs them
};

/// A file, a pipe or stdin as an input: regular files (stdin redirected from one too) can be read any number
/// of times, pipes once, or any number of times after spool().
class InputFile {
 public:
  /// `path` "-": stdin. Throws InputError if it is missing, a folder or unreadable; UsageError if stdin is a
  /// terminal. Waits for the first bytes of a pipe.
  explicit InputFile(const std::string& path);

  [[nodiscard]] const std::string& name() const { return name_; }  ///< the path, or "stdin"
  [[nodiscard]] std::uint64_t size() const { return size_; }       ///< bytes; 0: a pipe, unknown
  [[nodiscard]] bool rewindable() const { return seekable_; }
  [[nodiscard]] bool empty() const { return seekable_ ? size_ == 0 : !taken_ && prefix_.empty(); }
  /// The first kHeadBytes bytes (fewer if there are no more).
  static constexpr std::size_t kHeadBytes = std::size_t{1} << 17;
  [[nodiscard]] std::string head();
  /// Makes a pipe rewindable: copies it to an unnamed temporary file in `folder` ("": the system's).
  /// ResourceError if that runs full.
  void spool(const std::string& folder);
  /// From now on passes look for `text`; whether one has come by it.
  void watch_for(std::string text) { check_->watch_for(std::move(text)); }
  [[nodiscard]] bool seen() const { return check_->seen(); }
  /// A pass that begins at byte `from` (0 unless it is rewindable). Throws UsageError at the second pass over
  /// a pipe that was not spooled.
  [[nodiscard]] std::unique_ptr<InputStream> open(std::uint64_t from = 0);

 private:
  std::string path_, name_;
  std::shared_ptr<Descriptor> file_;  // stdin, pipe or spool; regular files are opened for each pass
  bool seekable_ = false, taken_ = false;
  std::uint64_t start_ = 0, size_ = 0;
  std::string prefix_;
  std::shared_ptr<ContentCheck> check_ = std::make_shared<ContentCheck>();
};

using InputFiles = std::vector<std::shared_ptr<InputFile>>;

}  // namespace aloft
