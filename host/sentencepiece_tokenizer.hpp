#pragma once
#include <cstddef>
#include <memory>

#include "host/corpus.hpp"
#include "host/input_file.hpp"
#include "host/text_reader.hpp"

namespace aloft {

/// Text files (one document each) through a SentencePiece model (spec.tokenizer: its file). The text is
/// encoded line by line, without the line break; a line break itself becomes the model's piece "\n", or its
/// byte piece "<0x0A>", or, where the model has neither, nothing. No token <s> or </s> is added. A line of
/// more than kMaxLineBytes is encoded in parts, cut before the last space that leaves a part of at most that
/// size (or between two characters). Throws InputError if the model cannot be loaded, UsageError if
/// spec.vocab_size is given and not the model's.
inline constexpr std::size_t kMaxLineBytes = std::size_t{1} << 16;
[[nodiscard]] std::unique_ptr<Corpus> open_sentencepiece(InputFiles files, const CorpusSpec& spec,
                                                         std::size_t block_bytes = kTextBlockBytes);

}  // namespace aloft
