#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace aloft {

/// A file that appears under its name only when complete: written beside it under a temporary name
/// (`.NAME.aloft-partial-PID`), flushed to disk and renamed by commit(); removed by the destructor otherwise.
/// Every call throws ResourceError when the disk is full and InputError when the folder cannot be written.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, std::size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  std::string path_, temporary_;
  int descriptor_ = -1;
};

/// Whole text to a file, atomically.
void write_file(const std::string& path, std::string_view text);
/// Whole file as text. Throws InputError if it cannot be read or is larger than max_bytes.
[[nodiscard]] std::string read_file(const std::string& path,
                                    std::uint64_t max_bytes = std::uint64_t{1} << 30);

}  // namespace aloft
