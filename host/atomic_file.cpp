#include "host/atomic_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "host/error.hpp"

namespace aloft {
namespace {

[[noreturn]] void fail(const std::string& path, const char* doing) {
  const int code = errno;
  const std::string what = fmt::format("{}: cannot {}: {}", path, doing, std::strerror(code));
  if (code == ENOSPC || code == EDQUOT || code == EFBIG) throw ResourceError(what);
  throw InputError(what);
}

}  // namespace

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  const std::filesystem::path target(path_);
  std::error_code unknown;  // then opening says what is wrong
  const auto there = std::filesystem::status(target, unknown);
  if (std::filesystem::exists(there) && !std::filesystem::is_regular_file(there))
    throw InputError(path_ + ": is not a regular file, and would be replaced by one; give another name");
  temporary_ =
      (target.parent_path() / fmt::format(".{}.aloft-partial-{}", target.filename().string(), getpid()))
          .string();
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail(path_, "create");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;  // committed
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
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

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0 && errno != EINVAL) fail(path_, "flush");  // EINVAL: not a regular file
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail(path_, "rename into place");
  ::close(descriptor_);
  descriptor_ = -1;
}

void write_file(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

std::string read_file(const std::string& path, std::uint64_t max_bytes) {
  if (std::filesystem::is_directory(path)) throw InputError(path + ": is a folder, a file is needed");
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) fail(path, "read");
  std::string text;
  char block[1 << 16];
  std::size_t n = 0;
  while ((n = std::fread(block, 1, sizeof block, file)) > 0 && text.size() <= max_bytes)
    text.append(block, n);
  const bool bad = std::ferror(file) != 0;
  std::fclose(file);
  if (bad) fail(path, "read");
  if (text.size() > max_bytes)
    throw InputError(fmt::format("{}: larger than the {} bytes expected at most", path, max_bytes));
  return text;
}

}  // namespace aloft
