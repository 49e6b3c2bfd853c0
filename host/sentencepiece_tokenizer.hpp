#pragma once
#include <cstddef>
#include <memory>

#include "host/corpus.hpp"
#include "host/input_file.hpp"
#include "host/text_reader.hpp"

namespace aloft {

/// How much of a document is encoded at once. Parts of up to `aim` bytes of normalised text, which end at the
/// last place where a cut changes no token (SentencePieceCuts); where there is none, at the first one behind.
/// A document that has none within `most` bytes is cut there, between two characters: a token or two at each
/// such place may differ, and the corpus says how many places there were. 0: by the kind of model.
struct SentencePieceWindow {
  std::size_t aim = 0, most = 0;
};

/// Text files (one document each) through a SentencePiece model (spec.tokenizer: its file). The ids are those
/// of the library's Encode(document), whatever the size of the document, in bounded memory; line breaks are
/// characters like others. No token <s> or </s> is added. Throws InputError if the model cannot be loaded,
/// UsageError if spec.vocab_size is given and not the model's.
[[nodiscard]] std::unique_ptr<Corpus> open_sentencepiece(InputFiles files, const CorpusSpec& spec,
                                                         std::size_t block_bytes = kTextBlockBytes,
                                                         SentencePieceWindow window = {});

}  // namespace aloft
