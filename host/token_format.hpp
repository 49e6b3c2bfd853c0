#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "host/input_file.hpp"

// Formats of files of token ids, as data: what --format calls them, how a file is recognised, and where its
// ids are. token_files.cpp reads the ids; corpus_format.cpp tells which format a
// file has (.bin: u16 or u32, too). A new one is a file token_format_NAME.cpp and a line in token_format.cpp.

namespace aloft {

/// How one file's ids are laid out in it: little-endian integers, one after the other.
struct TokenLayout {
  char kind = 'u';  ///< 'u' or 'i'
  std::size_t item_bytes = 2;
  std::uint64_t offset = 0;  ///< bytes before the first id
  std::uint64_t count = 0;   ///< ids; 0 in a raw pipe: to its end
  int version = 0;           ///< of the format; 0 where it has none
};

struct TokenFormat {
  std::string_view name;  ///< as in --format
  std::string_view what;  ///< of a file that is recognised: "is a .npy file"
  /// Whether a file's first bytes are those of this format. Null: it has no magic number.
  bool (*recognises)(std::string_view head) = nullptr;
  std::vector<std::string_view> extensions{};
  /// Reads and checks header and size. Throws InputError naming the file.
  TokenLayout (*layout)(InputFile& file) = nullptr;
};

[[nodiscard]] const std::vector<TokenFormat>& token_formats();
/// Null where none is called that.
[[nodiscard]] const TokenFormat* find_token_format(std::string_view name);
/// The format that these first bytes are of; null where no magic number says so.
[[nodiscard]] const TokenFormat* recognise_token_format(std::string_view head);
/// What --format may be, "auto" and "text" included.
[[nodiscard]] std::vector<std::string> format_names();

/// Whether little-endian u16 items look like the halves of u32 ids: the second of each pair is always zero
/// while the first ones differ. Needs at least four pairs to say so.
[[nodiscard]] bool looks_like_u32(std::string_view head);

/// The number at p, which need not be aligned.
template <class T>
[[nodiscard]] T load_number(const char* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

}  // namespace aloft
