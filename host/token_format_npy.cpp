#include <fmt/format.h>

#include "host/error.hpp"
#include "host/npy.hpp"
#include "host/token_format.hpp"

// One-dimensional .npy of an integer type.

namespace aloft {
namespace {

/// OLMo's tokenizer writes raw ids under this name (a memory map).
void expect_header(InputFile& file) {
  const std::string head = file.head();
  if (has_npy_magic(head)) return;
  const auto seen = id_bytes_seen(head);
  throw InputError(fmt::format(
      "{}: does not begin with a .npy file's \\x93NUMPY; {}, as OLMo writes it, it is read with --format {}",
      file.name(), seen ? "it looks like raw ids" : "if it is raw ids",
      seen ? raw_format_name(*seen) : "u16 (or u32, for a vocabulary above 65536)"));
}

TokenLayout npy_layout(InputFile& file) {
  expect_header(file);
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
  return {.kind = header.kind,
          .item_bytes = static_cast<std::size_t>(header.item_bytes),
          .offset = header.data_offset,
          .count = header.elements()};
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
