#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "host/corpus.hpp"
#include "host/input_file.hpp"

namespace aloft {

inline constexpr std::size_t kTextBlockBytes = std::size_t{1} << 20;

/// Throws InputError if the file begins with the byte-order mark of UTF-16 or UTF-32.
void refuse_utf16(InputFile& file);

/// A stream of bytes as valid UTF-8 in blocks of whole characters. A leading byte-order mark is skipped;
/// bytes that belong to no valid character (overlong, surrogate, cut off, above U+10FFFF) are refused or
/// become U+FFFD each.
class TextReader {
 public:
  TextReader(InputStream& stream, InvalidUtf8 policy, std::size_t block_bytes = kTextBlockBytes);

  /// The next block, empty only at the end; valid until the next call. Throws InputError at invalid bytes,
  /// with file and byte offset.
  [[nodiscard]] std::string_view next();

 private:
  [[nodiscard]] std::string_view clean(bool at_end);

  InputStream& stream_;
  InvalidUtf8 policy_;
  std::size_t block_bytes_;
  std::vector<char> buffer_;  // what was carried over, then the block just read
  std::size_t carried_ = 0;   // bytes of an unfinished character at the buffer's beginning
  std::size_t filled_ = 0;
  std::uint64_t base_ = 0;  // file offset of buffer_[0]
  std::string replaced_;
};

}  // namespace aloft
