#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "host/corpus.hpp"
#include "host/document_stream.hpp"
#include "host/input_file.hpp"

namespace aloft {

inline constexpr std::size_t kTextBlockBytes = std::size_t{1} << 20;

/// Throws InputError if the file begins like UTF-16 or UTF-32, with or without a byte-order mark.
void refuse_utf16(InputFile& file);
void refuse_utf16(const std::string& name, std::string_view head);

/// A file as documents of valid UTF-8, each in blocks of whole characters. A byte-order mark at the file's
/// beginning is skipped; bytes that belong to no valid character (overlong, surrogate, cut off, above
/// U+10FFFF) and NUL bytes are refused or become U+FFFD each. Documents end where `separator` stands
/// (document_stream.hpp).
class TextReader {
 public:
  TextReader(InputStream& stream, InvalidUtf8 policy, std::size_t block_bytes = kTextBlockBytes,
             std::string separator = {});

  /// The document's next block, empty only at its end; valid until the next call. Throws InputError at
  /// invalid bytes, with file and byte offset.
  [[nodiscard]] std::string_view next();
  /// After the document's end: goes on to the next one; false at the end of the file.
  [[nodiscard]] bool next_document();

 private:
  [[nodiscard]] std::string_view clean(bool at_end);
  [[noreturn]] void refuse(std::string_view all, std::size_t at) const;

  DocumentStream documents_;
  InvalidUtf8 policy_;
  std::size_t block_bytes_;
  std::vector<char> buffer_;  // what was carried over, then the block just read
  std::size_t carried_ = 0;   // bytes of an unfinished character at the buffer's beginning
  std::size_t filled_ = 0;
  std::uint64_t base_ = 0;  // file offset of buffer_[0]
  std::string replaced_;
};

}  // namespace aloft
