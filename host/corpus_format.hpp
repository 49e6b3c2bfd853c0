#pragma once
#include <cstdint>
#include <string>

#include "host/corpus.hpp"
#include "host/input_file.hpp"

namespace aloft {

/// What a file is taken for.
struct FileKind {
  enum class Verdict {
    read,     ///< as `format`
    records,  ///< JSON or a table: text, but not as it stands
    never,    ///< nothing in it could be a corpus: an image, a program, weights, bytes that are neither
    refused   ///< could be one once it is converted, or is damaged
  };
  Verdict verdict = Verdict::read;
  std::string format;  ///< "text" or the name of a token format (token_format.hpp)
  std::string what;    ///< records, never: "JSON Lines", "a PNG image"
  std::string why;     ///< where it is not read: one line, which names the file and the way out
};

/// From its beginning, its name and what stands beside it. In this order: magic numbers, foreign ones first
/// (foreign_format.hpp); an index beside it (datatrove, Megatron); the extension of raw ids (.u16, .u32,
/// .u64; .bin and .ds: as wide as the zeros in it show, else u32 if vocab_size > 65536, else u16); then text,
/// by extension (.txt, .md, .xml, ...) or because the first 64 KiB are UTF-8 without NUL bytes (with `policy`
/// replace: without NUL bytes). JSON and tables: structured_text.hpp.
[[nodiscard]] FileKind kind_of_file(InputFile& file, std::int64_t vocab_size, InvalidUtf8 policy);

/// Its format. Throws InputError saying why where it is not read.
[[nodiscard]] std::string detect_format(InputFile& file, std::int64_t vocab_size, InvalidUtf8 policy);

}  // namespace aloft
