#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "host/corpus.hpp"
#include "host/input_file.hpp"

namespace aloft {

/// Files of token ids, all of one format: raw little-endian u16 or u32, llm.c's .bin (256 × int32 header:
/// magic, version, number of tokens; magic 20240520 version 1 holds u16, magic 20240801 version 7 holds u32;
/// source: llm.c, dev/data/data_common.py), or 1-D .npy of an integer type. Each file is a document, or
/// several if spec.doc_sep_id is given: that id becomes kDocumentBreak. Headers and sizes are checked now,
/// ids (< spec.vocab_size) while reading. `format` is neither text nor automatic. Throws InputError,
/// UsageError if spec.vocab_size or doc_sep_id is wrong.
[[nodiscard]] std::unique_ptr<Corpus> open_token_files(InputFiles files, const CorpusSpec& spec,
                                                       CorpusFormat format);

/// Whether a file's beginning has the magic number of an llm.c token file.
[[nodiscard]] bool has_llmc_magic(std::string_view head);

/// Whether little-endian u16 items look like the halves of u32 ids: the second of each pair is always zero
/// while the first ones differ. Needs at least four pairs to say so.
[[nodiscard]] bool looks_like_u32(std::string_view head);

}  // namespace aloft
