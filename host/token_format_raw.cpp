#include <fmt/format.h>

#include <set>

#include "host/error.hpp"
#include "host/token_format.hpp"

// Raw little-endian ids without a header, such as nanoGPT's .bin (u16; corpus_format.cpp knows it by its
// name). Here a file is checked; token_files.cpp then reads it.

namespace aloft {
namespace {

TokenLayout raw_layout(InputFile& file, std::size_t item_bytes) {
  const std::string head = file.head();
  if (const TokenFormat* other = recognise_token_format(head))
    throw InputError(fmt::format("{}: {}; give --format {}", file.name(), other->what, other->name));
  if (item_bytes == 2 && looks_like_u32(head))
    throw InputError(file.name() + ": every second u16 is zero, so these are u32 ids; give --format u32");
  if (file.size() % item_bytes != 0)
    throw InputError(fmt::format(
        "{}: has {} bytes, not a multiple of the {} of an id{}", file.name(), file.size(), item_bytes,
        item_bytes == 4 && file.size() % 2 == 0 ? "; is it u16? Then give --format u16"
                                                : ": cut off, or in another format"));
  return {'u', item_bytes, 0, file.size() / item_bytes, 0};
}

}  // namespace

bool looks_like_u32(std::string_view head) {
  constexpr std::size_t kMinPairs = 4, kMinDistinct = 3;  // fewer could be u16 ids that alternate with id 0
  const std::size_t pairs = head.size() / 4;
  if (pairs < kMinPairs || head.size() % 4 != 0) return false;
  std::set<std::uint16_t> distinct;
  for (std::size_t k = 0; k < pairs; ++k) {
    if (load_number<std::uint16_t>(head.data() + 4 * k + 2) != 0) return false;
    if (distinct.size() < kMinDistinct) distinct.insert(load_number<std::uint16_t>(head.data() + 4 * k));
  }
  return distinct.size() == kMinDistinct;
}

TokenFormat raw_u16_format() {
  return {.name = "u16", .what = "", .extensions = {".u16"}, .layout = [](InputFile& file) {
            return raw_layout(file, 2);
          }};
}

TokenFormat raw_u32_format() {
  return {.name = "u32", .what = "", .extensions = {".u32"}, .layout = [](InputFile& file) {
            return raw_layout(file, 4);
          }};
}

}  // namespace aloft
