#include "host/npy_rows.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "host/error.hpp"
#include "host/input_file.hpp"

namespace aloft {

NpyRows::NpyRows(const std::string& path) : path_(path) {
  InputFile file(path);
  if (file.size() == 0) throw InputError(path + ": is empty or a pipe; a .npy matrix is read from a file");
  header_ = parse_npy_header(file.head(), path, file.size());
  if (header_.shape.size() != 2)
    throw InputError(
        fmt::format("{}: has shape {}, a matrix (rows, columns) is needed", path, header_.shape_text()));
  if (header_.kind != 'f' || header_.big_endian || (header_.item_bytes != 4 && header_.item_bytes != 8))
    throw InputError(
        fmt::format("{}: has dtype \"{}\"; save it as \"<f4\" or \"<f8\" (array.astype(\"float32\"))", path,
                    header_.dtype));
  file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file_ < 0) throw InputError(fmt::format("{}: {}", path, std::strerror(errno)));
}

NpyRows::~NpyRows() {
  if (file_ >= 0) (void)::close(file_);
}

void NpyRows::read(std::int64_t first, std::span<double> out) const {
  const auto columns = static_cast<std::size_t>(cols());
  if (columns == 0) return;
  const std::size_t n = out.size() / columns;
  const auto row = static_cast<std::uint64_t>(first);
  if (!header_.fortran_order) return read_run(row * columns, n * columns, out.data(), 1);
  for (std::size_t j = 0; j < columns; ++j)
    read_run(j * static_cast<std::uint64_t>(rows()) + row, n, out.data() + j, columns);
}

void NpyRows::read_run(std::uint64_t at, std::size_t n, double* out, std::size_t stride) const {
  const auto item = static_cast<std::size_t>(header_.item_bytes);
  std::vector<char> block(std::min<std::size_t>(n * item, std::size_t{1} << 20));
  for (std::size_t done = 0; done < n;) {
    const std::size_t bytes = std::min(block.size(), (n - done) * item);
    for (std::size_t have = 0; have < bytes;) {
      const ssize_t got = ::pread(file_, block.data() + have, bytes - have,
                                  static_cast<off_t>(header_.data_offset + (at + done) * item + have));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw InputError(fmt::format("{}: {}", path_, std::strerror(errno)));
      if (got == 0)
        throw InputError(fmt::format("{}: ends before element {}", path_, at + done + have / item));
      have += static_cast<std::size_t>(got);
    }
    for (std::size_t i = 0; i < bytes / item; ++i, ++done) {
      double value = 0;
      if (item == sizeof(float)) {
        float narrow = 0;
        std::memcpy(&narrow, block.data() + i * item, item);
        value = narrow;
      } else {
        std::memcpy(&value, block.data() + i * item, item);
      }
      out[done * stride] = value;
    }
  }
}

}  // namespace aloft
