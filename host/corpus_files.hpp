#pragma once
#include <string>
#include <vector>

#include "host/corpus.hpp"

namespace aloft {

struct CorpusFile {
  std::string path;
  bool of_folder = false;  ///< found in a folder, not named by the user
};

/// Files of a corpus: its paths with each folder replaced by the files in it and in its folders, sorted by
/// path. Left out are hidden ones (a name that begins with a dot), what `exclude` matches, what the run
/// itself writes and folders of other runs, whatever is no regular file, and what stands beside token files
/// as their index (X.idx beside X.bin; X.ds.index, X.ds.metadata, X.ds.loss beside X.ds).
struct CorpusFiles {
  std::vector<CorpusFile> files;
  std::vector<std::string> notes;  ///< one line for each folder: how many files, how many were left out
};
/// Throws InputError for a folder without a file, or one that cannot be read.
[[nodiscard]] CorpusFiles corpus_files(const CorpusSpec& spec);

}  // namespace aloft
