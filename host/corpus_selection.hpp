#pragma once
#include <string>

#include "host/corpus.hpp"
#include "host/input_file.hpp"
#include "host/progress.hpp"

namespace aloft {

struct OpenedFiles {
  InputFiles files;
  std::string format;  ///< kTextFormat or the name of a token format
};

/// The files of a corpus that have a byte, and their common format: spec.format, or what they are taken for
/// (corpus_format.hpp). Throws InputError for a file that is not read and where the formats differ.
///
/// Of a folder of texts (such as source code) not everything need be text: images, programs and the like are
/// left out, and JSON and tables are read as text like the rest where they are the lesser part of the files
/// and of the bytes. A note says of each how many and which is the first.
[[nodiscard]] OpenedFiles open_files(const CorpusSpec& spec, ProgressSink& progress);

}  // namespace aloft
