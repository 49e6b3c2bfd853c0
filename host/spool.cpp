#include "host/spool.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "host/error.hpp"
#include "host/input_file.hpp"

namespace aloft {
namespace {

constexpr std::size_t kBlock = std::size_t{1} << 20;

[[noreturn]] void fail(const InputStream& from, const std::string& folder, const char* doing) {
  const int code = errno;
  const std::string what = fmt::format("{}: needs two passes, so it is kept in {}, where it cannot be {}: {}",
                                       from.name(), folder, doing, std::strerror(code));
  if (code == ENOSPC || code == EDQUOT || code == EFBIG)
    throw ResourceError(what + " (give a folder with more room, a file, or a vocabulary built before)");
  throw InputError(what);
}

}  // namespace

std::shared_ptr<Descriptor> spool_to_temporary(InputStream& from, const std::string& folder) {
  std::error_code none;
  const std::string where = folder.empty() ? std::filesystem::temp_directory_path(none).string() : folder;
  if (none)
    throw UsageError(
        fmt::format("{}: needs two passes, so it is kept in the temp folder, and there is none ({}): set "
                    "TMPDIR to a folder",
                    from.name(), none.message()));
  int fd = ::open(where.c_str(), O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);  // never has a name
  if (fd < 0) {  // not every file system has such
    std::string name = (std::filesystem::path(where) / "aloft-spool-XXXXXX").string();
    fd = ::mkostemp(name.data(), O_CLOEXEC);
    if (fd < 0) fail(from, where, "created");
    ::unlink(name.c_str());
  }
  auto file = std::make_shared<Descriptor>(fd);

  std::vector<char> block(kBlock);
  while (const std::size_t bytes = from.read(block)) {
    for (std::size_t done = 0; done < bytes;) {
      const ssize_t n = ::write(fd, block.data() + done, bytes - done);
      if (n < 0 && errno != EINTR) fail(from, where, "written");
      if (n > 0) done += static_cast<std::size_t>(n);
    }
  }
  return file;
}

}  // namespace aloft
