#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "host/input_file.hpp"

namespace aloft {

/// A file's bytes, document by document: wherever `separator` stands, one ends and the next begins; it
/// belongs to neither. Without a separator the file is one document. Blocks may end anywhere, within a
/// separator too.
class DocumentStream {
 public:
  DocumentStream(InputStream& stream, std::string separator);

  /// Fills `out` unless the document ends first; returns the bytes, 0 only at the document's end. Throws what
  /// InputStream::read() throws.
  [[nodiscard]] std::size_t read(std::span<char> out);
  /// Once read() has come to the document's end: goes on to the next one; false at the end of the file.
  [[nodiscard]] bool next_document();
  /// Where in the file the next byte stands.
  [[nodiscard]] std::uint64_t offset() const {
    return separator_.empty() ? stream_.offset() : base_ + begin_;
  }
  [[nodiscard]] const std::string& name() const { return stream_.name(); }

 private:
  [[nodiscard]] bool refill();
  void find_limit();

  InputStream& stream_;
  std::string separator_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // of the bytes in it that were not given out
  std::size_t limit_ = 0;            // those before it are of this document
  bool at_separator_ = false;        // one stands at limit_
  bool ended_ = false;               // the file
  std::uint64_t base_ = 0;           // file offset of buffer_[0]
};

}  // namespace aloft
