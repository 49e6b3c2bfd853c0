#include <fmt/format.h>

#include <set>

#include "host/error.hpp"
#include "host/foreign_format.hpp"
#include "host/token_format.hpp"

// Raw little-endian ids without a header, such as nanoGPT's .bin (u16; corpus_format.cpp knows it by its
// name) or what NumPy's tofile() writes of np.int64. Here a file is checked; token_files.cpp then reads it.

namespace aloft {
namespace {

/// What the file is, where that is not raw ids of this width.
void refuse_others(InputFile& file, std::string_view head, std::size_t item_bytes) {
  const std::string format = raw_format_name(item_bytes);
  if (const auto foreign = foreign_format(head, file.name(), file.size()))
    throw InputError(
        fmt::format("{}: is {}, not {} ids; {}", file.name(), foreign->what, format, foreign->advice));
  const TokenFormat* other = recognise_token_format(head, file.name());
  if (other != nullptr && other->described == nullptr)
    throw InputError(fmt::format("{}: {}; give --format {}", file.name(), other->what, other->name));
  if (other != nullptr) {
    if (const std::size_t bytes = other->layout(file).item_bytes; bytes != item_bytes)
      throw InputError(
          fmt::format("{}: {}, where its ids have {} bytes, not {}; give --format {} (which also knows its "
                      "documents) or {}",
                      file.name(), other->what, bytes, item_bytes, other->name, raw_format_name(bytes)));
    return;
  }
  if (const auto seen = id_bytes_seen(head); seen && *seen > item_bytes)
    throw InputError(fmt::format("{}: {} of {} bytes is zero, so these are {} ids; give --format {}",
                                 file.name(), *seen > 2 * item_bytes ? "most items" : "every second item",
                                 item_bytes, raw_format_name(*seen), raw_format_name(*seen)));
}

TokenLayout raw_layout(InputFile& file, std::size_t item_bytes) {
  refuse_others(file, file.head(), item_bytes);
  if (file.size() % item_bytes != 0)
    throw InputError(fmt::format(
        "{}: has {} bytes, not a multiple of the {} of an id{}", file.name(), file.size(), item_bytes,
        item_bytes > 2 && file.size() % 2 == 0 ? "; is it u16? Then give --format u16"
                                               : ": cut off, or in another format"));
  return {.kind = 'u', .item_bytes = item_bytes, .offset = 0, .count = file.size() / item_bytes};
}

/// Whether the upper halves of items of 2 · `half` bytes are all zero while the lower ones differ. Of few
/// items they may be all ones: a negative number, as labels have for what is left out.
bool upper_halves_zero(std::string_view head, std::size_t half) {
  constexpr std::size_t kFewestItems = 4, kFewestDistinct = 3;  // fewer could be ids that alternate with id 0
  const std::size_t items = head.size() / (2 * half);
  if (items < kFewestItems || head.size() % (2 * half) != 0) return false;
  std::set<std::string_view> distinct;
  std::size_t negative = 0;
  for (std::size_t k = 0; k < items; ++k) {
    const std::string_view item = head.substr(2 * half * k, 2 * half);
    if (item.find_first_not_of('\0', half) != std::string_view::npos) {
      if (item.find_first_not_of('\xff', half) != std::string_view::npos || ++negative > items / 2)
        return false;
      continue;
    }
    if (distinct.size() < kFewestDistinct) distinct.insert(item.substr(0, half));
  }
  return distinct.size() == kFewestDistinct;
}

/// Whether every fourth byte is zero, as in u32 ids of any vocabulary, and neither every second one, as in
/// u16 ids below 256, nor all of two are.
bool fourth_bytes_zero(std::string_view head) {
  constexpr std::size_t kFewestItems = 64;  // each a chance of one in a hundred, say, for u16
  const std::size_t items = head.size() / 4;
  if (items < kFewestItems) return false;
  std::size_t second = 0;
  for (std::size_t k = 0; k < items; ++k) {
    if (head[4 * k + 3] != '\0') return false;
    second += head[4 * k + 1] != '\0' ? 1 : 0;
  }
  return 2 * second > items;
}

}  // namespace

std::optional<std::size_t> id_bytes_seen(std::string_view head) {
  if (upper_halves_zero(head, 4)) return 8;
  if (upper_halves_zero(head, 2) || fourth_bytes_zero(head)) return 4;
  return std::nullopt;
}

std::string raw_format_name(std::size_t item_bytes) { return fmt::format("u{}", 8 * item_bytes); }

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

TokenFormat raw_u64_format() {
  return {.name = "u64", .what = "", .extensions = {".u64"}, .layout = [](InputFile& file) {
            return raw_layout(file, 8);
          }};
}

}  // namespace aloft
