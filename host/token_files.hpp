#pragma once
#include <memory>

#include "host/corpus.hpp"
#include "host/input_file.hpp"
#include "host/token_format.hpp"

namespace aloft {

/// Files of token ids, all of one format. Each file is a document, or several where its format lists
/// their ends or spec.doc_sep_id is given: that id becomes kDocumentBreak. Headers and sizes are checked now,
/// ids (< spec.vocab_size) while reading. Throws InputError, UsageError if spec.vocab_size or doc_sep_id is
/// wrong.
[[nodiscard]] std::unique_ptr<Corpus> open_token_files(InputFiles files, const CorpusSpec& spec,
                                                       const TokenFormat& format);

}  // namespace aloft
