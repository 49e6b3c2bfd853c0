#pragma once
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/input_file.hpp"

// Formats of files of token ids, as data: what --format calls them, how a file is recognised, and where its
// ids are. token_files.cpp reads the ids; corpus_format.cpp tells which format a
// file has (.bin: u16 or u32, too). A new one is a file token_format_NAME.cpp and a line in token_format.cpp.

namespace aloft {

/// Where a file's documents end, for formats that keep a list of it. One pass; the list is not held in
/// memory.
class DocumentEnds {
 public:
  DocumentEnds() = default;
  DocumentEnds(const DocumentEnds&) = delete;
  DocumentEnds& operator=(const DocumentEnds&) = delete;
  virtual ~DocumentEnds() = default;
  /// The next document ends before the id of this number, counted from 0; never below the one before it. The
  /// last one is the number of ids. Throws InputError naming the list's file when that is not so.
  [[nodiscard]] virtual std::uint64_t next() = 0;
};

/// How one file's ids are laid out in it: little-endian integers, one after the other.
struct TokenLayout {
  char kind = 'u';  ///< 'u' or 'i'
  std::size_t item_bytes = 2;
  std::uint64_t offset = 0;                                    ///< bytes before the first id
  std::uint64_t count = 0;                                     ///< ids; 0 in a raw pipe: to its end
  int version = 0;                                             ///< of the format; 0 where it has none
  std::function<std::unique_ptr<DocumentEnds>()> documents{};  ///< null: no list of them
};

struct TokenFormat {
  std::string_view name;  ///< as in --format
  std::string_view what;  ///< of a file that is recognised: "is a .npy file"
  /// Whether a file's first bytes are those of this format. Null: it has no magic number.
  bool (*recognises)(std::string_view head) = nullptr;
  std::vector<std::string_view> extensions{};
  /// Whether what stands beside the file of this name says that it is of this format. Null: nothing would.
  bool (*described)(const std::string& path) = nullptr;
  /// Reads and checks header and size. Throws InputError naming the file.
  TokenLayout (*layout)(InputFile& file) = nullptr;
};

[[nodiscard]] const std::vector<TokenFormat>& token_formats();
/// Null where none is called that.
[[nodiscard]] const TokenFormat* find_token_format(std::string_view name);
/// The format that these first bytes are of, or that a file beside the one of this name tells; null where
/// neither says so.
[[nodiscard]] const TokenFormat* recognise_token_format(std::string_view head, const std::string& path);
/// What --format may be, "auto" and "text" included.
[[nodiscard]] std::vector<std::string> format_names();

/// Bytes of an id, 4 or 8, where the upper half of every little-endian id is zero while the lower ones
/// differ; 4 also where every fourth byte is zero and the others are not, as in u32 ids above 65535. Nothing
/// where neither is so, or there are too few ids to say.
[[nodiscard]] std::optional<std::size_t> id_bytes_seen(std::string_view head);
/// "u16", "u32" or "u64".
[[nodiscard]] std::string raw_format_name(std::size_t item_bytes);

/// The number at p, which need not be aligned.
template <class T>
[[nodiscard]] T load_number(const char* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

}  // namespace aloft
