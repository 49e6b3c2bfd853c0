#pragma once
#include <cstdint>
#include <string>

#include "host/corpus.hpp"
#include "host/input_file.hpp"

namespace aloft {

/// What a file holds, from its beginning, its name and what stands beside it: "text" or the name of a token
/// format (token_format.hpp). In this order: magic numbers, foreign ones first (foreign_format.hpp); an index
/// beside it (datatrove, Megatron); the extension of raw ids (.u16, .u32, .u64; .bin and .ds: as wide as the
/// zeros in it show, else u32 if vocab_size > 65536, else u16); then text, by extension (.txt, .md, .xml,
/// ...) or because the first 64 KiB are UTF-8 without NUL bytes (with `policy` replace: without NUL bytes).
/// Throws InputError, naming the file and the way out, for what is foreign, UTF-16 or UTF-32, JSON or a table
/// (structured_text.hpp), and where nothing decides.
[[nodiscard]] std::string detect_format(InputFile& file, std::int64_t vocab_size, InvalidUtf8 policy);

}  // namespace aloft
