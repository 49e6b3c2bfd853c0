#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace aloft {

/// A file that appears under its name only when complete: written beside it under a temporary name
/// (`.NAME.aloft-partial-` and 16 random hexadecimal digits, made anew, never opened), flushed to disk and
/// renamed by commit(); removed by the destructor otherwise. While it is written its descriptor holds a lock
/// (flock), so that remove_leftovers() of another process leaves it alone. Every call throws ResourceError
/// when disk or memory run out and InputError when the folder cannot be written.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, std::size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  /// A file of that name is replaced, at once: whoever opens it sees the old one whole or the new one.
  void commit() { commit_together({this}); }
  /// The same for several files that belong together: what was there is set aside first, so that at no
  /// instant an old one lies beside a new one; put back when one of them fails.
  static void commit_together(const std::vector<AtomicFile*>& files);

 private:
  void make_temporary();

  std::string path_, folder_, temporary_;
  int descriptor_ = -1;
};

/// Whole text to a file, atomically.
void write_file(const std::string& path, std::string_view text);
/// Throws what writing a file of this name would, before hours of work: a folder that is absent or cannot be
/// written.
void expect_can_be_written(const std::string& path);
/// Removes what killed processes left of AtomicFiles of these names in `folder`: regular files with such a
/// temporary name that no living process writes. Nothing else; what cannot be removed stays.
void remove_leftovers(const std::string& folder, const std::vector<std::string>& names);
/// That of one file, beside it.
void remove_leftovers(const std::string& path);
/// Makes the names in a folder durable. Throws as AtomicFile does; a file system that cannot is left as it
/// is.
void sync_folder(const std::string& folder);

/// Whole file as text. Throws InputError if it cannot be read or is larger than max_bytes.
[[nodiscard]] std::string read_file(const std::string& path,
                                    std::uint64_t max_bytes = std::uint64_t{1} << 30);

}  // namespace aloft
