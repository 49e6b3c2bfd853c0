#pragma once
#include <cstdint>
#include <string>

#include "host/corpus.hpp"
#include "host/input_file.hpp"

namespace aloft {

/// What a file holds, from its beginning and its name: "text" or the name of a token format
/// (token_format.hpp). In this order: magic numbers (llm.c, .npy); the extension of text (.txt, .md, .xml,
/// ...) or of raw ids (.u16, .u32; .bin: u32 if vocab_size > 65536 or the u16 would have every second item
/// zero, else u16); else text if the first 64 KiB are UTF-8 without NUL bytes (with `policy` replace: without
/// NUL bytes). Throws InputError, naming the file and --format, where that does not decide.
[[nodiscard]] std::string detect_format(InputFile& file, std::int64_t vocab_size, InvalidUtf8 policy);

}  // namespace aloft
