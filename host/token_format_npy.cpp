#include <fmt/format.h>

#include "host/error.hpp"
#include "host/npy.hpp"
#include "host/token_format.hpp"

// One-dimensional .npy of an integer type.

namespace aloft {
namespace {

TokenLayout npy_layout(InputFile& file) {
  const NpyHeader header = parse_npy_header(file.head(), file.name(), file.size());
  const bool integer = header.kind == 'u' || header.kind == 'i';
  const bool known =
      header.item_bytes == 1 || header.item_bytes == 2 || header.item_bytes == 4 || header.item_bytes == 8;
  if (!integer || !known || header.big_endian)
    throw InputError(
        fmt::format("{}: has dtype \"{}\"; token ids need a little-endian integer type of 1, 2, 4 or 8 bytes",
                    file.name(), header.dtype));
  if (header.shape.size() != 1)
    throw InputError(fmt::format("{}: has shape {}; token ids need one dimension (array.ravel())",
                                 file.name(), header.shape_text()));
  if (header.elements() == 0) throw InputError(file.name() + ": holds no token");
  return {header.kind, static_cast<std::size_t>(header.item_bytes), header.data_offset, header.elements(), 0};
}

}  // namespace

TokenFormat npy_format() {
  return {.name = "npy",
          .what = "is a .npy file",
          .recognises = has_npy_magic,
          .extensions = {".npy"},
          .layout = npy_layout};
}

}  // namespace aloft
