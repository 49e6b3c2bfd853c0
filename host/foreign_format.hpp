#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace aloft {

/// A kind of file that is neither text nor token ids, and what makes one of them of it.
struct ForeignFormat {
  std::string what;    ///< "gzip data", "a PDF document"
  std::string advice;  ///< one line: the command, or what to do
  bool never = false;  ///< nothing in it could be a corpus: an image, a program, weights
};

/// The foreign kind that a file is of, from its first bytes, its name and its size (0: a pipe): compressed
/// data, archives, tables of columns, documents, images, weights, indexes of token files. By content wherever
/// there is a magic number; every such test takes at least 32 bits, so that text and ids do not pass for one.
[[nodiscard]] std::optional<ForeignFormat> foreign_format(std::string_view head, const std::string& name,
                                                          std::uint64_t size);

}  // namespace aloft
