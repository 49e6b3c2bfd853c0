#pragma once
#include <memory>

#include "host/corpus.hpp"
#include "host/input_file.hpp"

namespace aloft {

/// Files (one document each) as they are, a token per byte: id = byte value, vocabulary 256. No byte is
/// special: neither byte-order marks nor invalid UTF-8. Throws UsageError if spec.vocab_size is neither 0 nor
/// 256.
[[nodiscard]] std::unique_ptr<Corpus> open_bytes(InputFiles files, const CorpusSpec& spec);

}  // namespace aloft
